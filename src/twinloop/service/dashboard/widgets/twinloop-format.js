// Times as people read them. The server's clock counts, whatever the visitor's says.
import { ref } from "vue";

export const now = ref(Date.now() / 1000);
let offset = 0;

export function setServerTime(seconds) {
  offset = seconds - Date.now() / 1000;
  now.value = seconds;
}

setInterval(() => (now.value = Date.now() / 1000 + offset), 1000);

export function span(seconds) {
  if (seconds === null || seconds === undefined || Number.isNaN(seconds)) return "–";
  const s = Math.max(seconds, 0);
  if (s < 1) return "now";
  if (s < 60) return `${Math.floor(s)} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${Math.floor(s % 60)} s`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

export function age(at) {
  const seconds = now.value - at;
  return seconds < 1 ? "now" : `${span(seconds)} ago`;
}

const two = (number) => String(number).padStart(2, "0");

export function local(at) {
  const moment = new Date(at * 1000);
  const clock = `${two(moment.getHours())}:${two(moment.getMinutes())}:${two(moment.getSeconds())}`;
  if (moment.toDateString() === new Date().toDateString()) return clock;
  return `${moment.getFullYear()}-${two(moment.getMonth() + 1)}-${two(moment.getDate())} ${clock}`;
}

export function both(at) {
  return `${local(at)} local, ${new Date(at * 1000).toISOString().slice(0, 19).replace("T", " ")} UTC`;
}
