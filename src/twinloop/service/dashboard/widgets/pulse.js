// Whether twins are alive: the slot, and how long ago it was lived. Turns late by itself when nothing more is heard.
import { both, now, setServerTime, span } from "twinloop-format";

export default {
  data: () => ({ slot: null, at: null, said: "waiting for the server" }),
  computed: {
    lateness() {
      return this.at === null ? null : now.value - this.at;
    },
    tone() {
      if (this.lateness === null) return "quiet";
      return this.lateness < 5 ? "good" : this.lateness < 15 ? "warn" : "bad";
    },
    text() {
      if (this.lateness === null) return this.said;
      return this.lateness < 5 ? `slot ${this.slot}` : `heard ${span(this.lateness)} ago`;
    },
    title() {
      return this.at === null ? this.said : `slot ${this.slot} was heard of ${both(this.at)}`;
    },
  },
  methods: {
    beat(slot, serverTime) {
      setServerTime(serverTime);
      if (slot !== this.slot) this.at = serverTime;
      this.slot = slot;
    },
    say(words) {
      this.said = words;
    },
  },
  template: `<span class="tl-pulse" :class="tone" :title="title"><i aria-hidden="true"></i><span>{{ text }}</span></span>`,
};
