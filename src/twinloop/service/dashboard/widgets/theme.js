// Light, dark, or as the system has it; remembered by the browser.
const NAMES = { auto: "as the system", light: "light", dark: "dark" };
const ICONS = { auto: "brightness_auto", light: "light_mode", dark: "dark_mode" };

export default {
  data: () => ({ chosen: document.documentElement.dataset.theme || "auto" }),
  computed: {
    label() {
      return `Colours: ${NAMES[this.chosen]}. Change.`;
    },
    icon() {
      return ICONS[this.chosen];
    },
  },
  mounted() {
    setTimeout(() => this.paint(), 0);
  },
  methods: {
    paint() {
      setDark(this.chosen === "auto" ? null : this.chosen === "dark");
    },
    turn() {
      const names = Object.keys(NAMES);
      this.chosen = names[(names.indexOf(this.chosen) + 1) % names.length];
      document.documentElement.dataset.theme = this.chosen;
      localStorage.setItem("twinloop-theme", this.chosen);
      this.paint();
    },
  },
  template: `<button type="button" class="tl-icon" :aria-label="label" :title="label" @click="turn">
    <i class="material-icons" aria-hidden="true">{{ icon }}</i></button>`,
};
