// A moment: local time and age.
import { age, both, local } from "twinloop-format";

export default {
  props: { at: Number },
  methods: { age, both, local },
  template: `<time v-if="at" :title="both(at)">{{ local(at) }} <small>{{ age(at) }}</small></time><span v-else>–</span>`,
};
