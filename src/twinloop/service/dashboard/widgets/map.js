// The network on a plain metric map, north up: cells, servers, and users who glide to where they were last heard.
import { both, now, span } from "twinloop-format";

const MARGIN = { left: 46, right: 14, top: 14, bottom: 34 };
const STEPS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000];
const LABELS = [[0, 22], [0, -13], [1, 4], [-1, 4]];
const SYMBOLS = { cell: "M0,-9 L8,6 L-8,6 Z", server: "M-7,-7 H7 V7 H-7 Z" };

export default {
  props: { label: String },
  emits: ["pick", "open"],
  data: () => ({ width: 0, scene: null, users: [], legend: null, picked: null, note: "", states: {} }),
  mounted() {
    this.observer = new ResizeObserver(() => (this.width = this.$refs.frame.clientWidth));
    this.observer.observe(this.$refs.frame);
    this.width = this.$refs.frame.clientWidth;
  },
  unmounted() {
    this.observer.disconnect();
  },
  computed: {
    box() {
      const [x0, y0, x1, y1] = this.scene.box;
      const inner = Math.max(this.width - MARGIN.left - MARGIN.right, 50);
      const tallest = Math.max(Math.min(window.innerHeight - 260, 560), 200);
      let scale = Math.min(inner / (x1 - x0), tallest / (y1 - y0));
      if ((y1 - y0) * scale < 170) scale = Math.min(170 / (y1 - y0), (4 * inner) / (x1 - x0));
      return { x0, y0, x1, y1, scale, w: (x1 - x0) * scale, h: (y1 - y0) * scale };
    },
    size() {
      return { w: this.box.w + MARGIN.left + MARGIN.right, h: this.box.h + MARGIN.top + MARGIN.bottom };
    },
    ticks() {
      const { x0, y0, x1, y1, scale } = this.box;
      const step = STEPS.find((s) => s * scale >= 62) || STEPS[STEPS.length - 1];
      const of = (a, b) => {
        const found = [];
        for (let v = Math.ceil(a / step) * step; v <= b; v += step) found.push(v);
        return found;
      };
      return { x: of(x0, x1), y: of(y0, y1) };
    },
    counts() {
      const counts = this.legend.bins.map(() => 0);
      let unknown = 0;
      for (const user of this.users) user.bin === null ? unknown++ : counts[user.bin]++;
      return { counts, unknown };
    },
    marks() {
      const placed = [];
      for (const mark of [...this.scene.cells, ...this.scene.servers]) {
        let [left, top] = [this.px(mark.x), this.py(mark.y)];
        if (placed.some((one) => Math.hypot(one.left - left, one.top - top) < 14)) left += 24;
        placed.push({ ...mark, left, top, ...this.states[`${mark.kind}/${mark.id}`] });
      }
      const taken = placed.map((one) => [one.left - 9, one.top - 9, one.left + 9, one.top + 9]);
      for (const one of placed) {
        const half = 3.7 * one.id.length;
        const boxes = LABELS.map(([dx, dy]) => [one.left + dx * (half + 14), one.top + dy]);
        const clashes = boxes.map(([x, y]) => {
          const outside = x - half < 0 || x + half > this.size.w ? 1 : 0;
          return outside + taken.filter(([a, b, c, d]) => x - half < c && x + half > a && y - 11 < d && y + 3 > b).length;
        });
        const best = clashes.indexOf(Math.min(...clashes));
        const [x, y] = boxes[best];
        taken.push([x - half, y - 11, x + half, y + 3]);
        Object.assign(one, { labelX: x - one.left, labelY: y - one.top });
      }
      return placed;
    },
    wide() {
      return this.scene !== null && this.width > 0 && this.size.w > this.width + 1;
    },
    focus() {
      if (!this.picked) return null;
      const among = this.picked.kind === "user" ? this.users : this.marks;
      return among.find((one) => one.id === this.picked.id) || null;
    },
    spoken() {
      const one = this.focus;
      return one === null ? "" : `${this.picked.kind} ${one.id}${one.said ? ": " + one.said : ""}`;
    },
  },
  methods: {
    both,
    shape(kind) {
      return SYMBOLS[kind];
    },
    stage(scene) {
      this.scene = scene;
    },
    paint(legend) {
      this.legend = legend;
    },
    describe(kind, states) {
      const others = Object.entries(this.states).filter(([name]) => !name.startsWith(`${kind}/`));
      const these = Object.entries(states).map(([name, state]) => [`${kind}/${name}`, state]);
      this.states = Object.fromEntries([...others, ...these]);
    },
    show(ids, x, y, bin, at, said, note) {
      this.users = ids.map((id, i) => ({ id, x: x[i], y: y[i], bin: bin[i], at: at[i], said: said[i] }));
      this.note = note;
    },
    px(x) {
      return MARGIN.left + (x - this.box.x0) * this.box.scale;
    },
    py(y) {
      return MARGIN.top + (this.box.y1 - y) * this.box.scale;
    },
    place(one) {
      const [left, top] = [one.left ?? this.px(one.x), one.top ?? this.py(one.y)];
      return { transform: `translate(${left.toFixed(1)}px, ${top.toFixed(1)}px)` };
    },
    tip(user) {
      return `${user.id}${user.said ? ": " + user.said : ""}, heard ${span(now.value - user.at)} ago`;
    },
    old(user) {
      return now.value - user.at > 15;
    },
    classOf(user) {
      const colour = user.bin === null ? "unknown" : `${this.legend.scale}-${user.bin}`;
      return [colour, { old: this.old(user), picked: this.picked?.kind === "user" && this.picked.id === user.id }];
    },
    pick(kind, id) {
      this.picked = { kind, id };
      this.$emit("pick", kind, id);
    },
    nearest(dx, dy) {
      const from = this.focus || { x: (this.box.x0 + this.box.x1) / 2, y: (this.box.y0 + this.box.y1) / 2, id: "" };
      let best = null;
      for (const user of this.users) {
        const along = (user.x - from.x) * dx + (user.y - from.y) * dy;
        const aside = Math.abs((user.x - from.x) * dy) + Math.abs((user.y - from.y) * dx);
        const cost = along + 2 * aside;
        if (user.id !== from.id && along > 0 && (best === null || cost < best.cost)) best = { cost, id: user.id };
      }
      return best;
    },
    steer(event) {
      const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
      if (event.key === "Enter" && this.picked) return this.$emit("open", this.picked.kind, this.picked.id);
      if (!(event.key in ways)) return;
      event.preventDefault();
      const found = this.nearest(...ways[event.key]);
      if (found === null) return;
      this.pick("user", found.id);
      const frame = this.$refs.frame;
      const at = this.px(this.focus.x) - frame.scrollLeft;
      if (at < 40 || at > frame.clientWidth - 40) frame.scrollLeft += at - frame.clientWidth / 2;
    },
  },
  template: `
    <div class="tl-map">
      <div ref="frame" class="tl-map-frame" tabindex="0" role="application" :aria-label="label" @keydown="steer">
        <svg v-if="scene && legend && width" :width="size.w" :height="size.h" :viewBox="'0 0 ' + size.w + ' ' + size.h">
          <g class="grid">
            <rect :x="px(box.x0)" :y="py(box.y1)" :width="box.w" :height="box.h" />
            <template v-for="v in ticks.x" :key="'x' + v">
              <line :x1="px(v)" :x2="px(v)" :y1="py(box.y0)" :y2="py(box.y1)" />
              <text :x="px(v)" :y="py(box.y0) + 15" text-anchor="middle">{{ v }}</text>
            </template>
            <template v-for="v in ticks.y" :key="'y' + v">
              <line :x1="px(box.x0)" :x2="px(box.x1)" :y1="py(v)" :y2="py(v)" />
              <text :x="px(box.x0) - 6" :y="py(v) + 4" text-anchor="end">{{ v }}</text>
            </template>
            <text :x="px(box.x1)" :y="py(box.y0) + 29" text-anchor="end">m east</text>
            <text :x="px(box.x0)" :y="py(box.y0) + 29" text-anchor="middle">m north ↑</text>
          </g>
          <line v-for="link in scene.links" :key="link.join()" class="link" :x1="px(link[0])" :y1="py(link[1])" :x2="px(link[2])" :y2="py(link[3])" />
          <g class="users">
            <circle v-for="user in users" :key="user.id" r="5" :style="place(user)" :class="classOf(user)" @click="pick('user', user.id)">
              <title>{{ tip(user) }}</title>
            </circle>
          </g>
          <g v-for="mark in marks" :key="mark.kind + mark.id" class="mark" :class="[mark.kind, mark.tone, { picked: picked?.kind === mark.kind && picked.id === mark.id }]"
             :style="place(mark)" @click="pick(mark.kind, mark.id)">
            <title>{{ mark.kind }} {{ mark.id }}{{ mark.said ? ": " + mark.said : "" }}</title>
            <path :d="shape(mark.kind)" />
            <text :x="mark.labelX" :y="mark.labelY" text-anchor="middle">{{ mark.id }}</text>
          </g>
        </svg>
        <div v-else class="tl-map-empty">waiting for the first picture of the network …</div>
      </div>
      <div class="tl-unseen" aria-live="polite">{{ spoken }}</div>
      <div v-if="legend" class="tl-legend">
        <strong>{{ legend.title }}</strong>
        <span v-for="(name, at) in legend.bins" :key="at"><i :class="legend.scale + '-' + at"></i>{{ name }} <small>{{ counts.counts[at] }}</small></span>
        <span><i class="unknown"></i>not known <small>{{ counts.unknown }}</small></span>
        <span>pale: not heard for 15 s</span>
      </div>
      <div v-if="legend" class="tl-legend">
        <strong>Cells and servers, load</strong>
        <span><svg width="14" height="14" viewBox="-10 -11 20 20" aria-hidden="true"><path class="cell" :d="shape('cell')" /></svg>cell</span>
        <span><svg width="14" height="14" viewBox="-9 -9 18 18" aria-hidden="true"><path class="server" :d="shape('server')" /></svg>server</span>
        <span><i class="load good"></i>up to 80 %</span><span><i class="load warn"></i>80 to 95 %</span><span><i class="load bad"></i>above 95 %</span>
        <span><i class="load"></i>not known</span>
      </div>
      <p v-if="wide" class="tl-note">The map is wider than the screen: it scrolls sideways.</p>
      <p v-if="note" class="tl-note">{{ note }}</p>
    </div>`,
};
