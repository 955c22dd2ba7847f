// A table that is filled again and again: Vue changes only what differs. A cell is a text or an object, see tables.py.
import { age, both, local } from "twinloop-format";

export default {
  props: { caption: String, columns: Array, rows: Array, empty: String, sorted: String, descending: Boolean, cards: Boolean },
  emits: ["sort"],
  data: () => ({ prefix: "" }),
  mounted() {
    setTimeout(() => (this.prefix = window.path_prefix || ""), 0);
  },
  methods: {
    age,
    both,
    local,
    cell(value) {
      return value !== null && typeof value === "object" ? value : { text: value };
    },
    percent(part) {
      return `${Math.min(Math.max(part, 0), 1) * 100}%`;
    },
    aria(column) {
      if (column.key !== this.sorted) return column.sortable ? "none" : undefined;
      return this.descending ? "descending" : "ascending";
    },
  },
  template: `
    <div class="tl-scroll" role="region" :aria-label="caption" tabindex="0">
      <table class="tl-table" :class="{ 'tl-cards': cards }">
        <caption class="tl-unseen">{{ caption }}</caption>
        <thead>
          <tr>
            <th v-for="column in columns" :key="column.key" scope="col" :class="column.align" :aria-sort="aria(column)">
              <button v-if="column.sortable" type="button" class="tl-sort" @click="$emit('sort', column.key)">
                {{ column.label }}<span aria-hidden="true">{{ column.key !== sorted ? "" : descending ? " ▼" : " ▲" }}</span>
              </button>
              <template v-else>{{ column.label }}</template>
            </th>
          </tr>
        </thead>
        <tbody>
          <tr v-for="row in rows" :key="row.key" :class="row.tone ? 'tl-row-' + row.tone : undefined">
            <component :is="i === 0 ? 'th' : 'td'" v-for="(value, i) in row.cells" :key="i"
              :scope="i === 0 ? 'row' : undefined" :class="[columns[i].align, { wide: columns[i].wide }]" :data-label="columns[i].label">
              <template v-for="c in [cell(value)]" :key="0">
                <div v-if="c.stack" class="tl-stack" role="img" :aria-label="c.title" :title="c.title">
                  <span v-for="(part, at) in c.stack" :key="at" :class="part.tone" :style="{ width: percent(part.share) }"></span>
                </div>
                <div v-if="c.bar !== undefined" class="tl-meter" :class="{ wide: c.mark !== undefined }">
                  <div class="tl-bar" :class="c.tone" role="img" :aria-label="c.title || c.text" :title="c.title">
                    <span :style="{ width: percent(c.bar) }"></span>
                    <i v-if="c.mark !== undefined" :style="{ left: percent(c.mark) }"></i>
                  </div>
                  <span :class="c.tone">{{ c.text }}</span>
                </div>
                <a v-else-if="c.href" class="tl-link" :href="prefix + c.href" :title="c.at ? both(c.at) : undefined">{{ c.at ? local(c.at) : c.text }}<small v-if="c.at">{{ age(c.at) }}</small></a>
                <span v-else-if="c.pill" class="tl-pill" :class="c.tone" :title="c.title">{{ c.text }}</span>
                <time v-else-if="c.at" :title="both(c.at)">{{ c.only === "age" ? age(c.at) : local(c.at) }}<small v-if="!c.only">{{ age(c.at) }}</small></time>
                <code v-else-if="c.code" :title="c.title">{{ c.text }}</code>
                <span v-else-if="c.text" :class="c.tone" :title="c.title">{{ c.text }}</span>
                <small v-if="c.sub">{{ c.sub }}</small>
              </template>
            </component>
          </tr>
          <tr v-if="rows.length === 0"><td class="tl-empty" :colspan="columns.length">{{ empty }}</td></tr>
        </tbody>
      </table>
    </div>`,
};
