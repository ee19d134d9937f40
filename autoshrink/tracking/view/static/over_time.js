// The hypervolume as the search went on.

import { ask } from "./data.js";
import { color, el } from "./dom.js";

const PAUSE = 8000;

export class OverTime {
  constructor(place) {
    this.place = place;
    this.graph = el("div", { class: "time" });
    this.note = el("p", { class: "note" }, "Loading …");
    place.append(this.note, this.graph);
    this.asked = 0;
    new ResizeObserver(() => { if (this.drawn && this.graph.clientWidth) Plotly.Plots.resize(this.graph); }).observe(this.graph);
  }

  // Asks again when there is something new, but not more often than every few seconds.
  async draw(search, force = false) {
    const stamp = `${search.about.count} ${search.about.latest} ${search.about.status}`;
    if (stamp !== this.stamp && (force || Date.now() - this.asked > PAUSE || !search.running)) {
      this.stamp = stamp;
      this.asked = Date.now();
      try {
        this.read = await ask(`api/searches/${search.run}/history`);
      } catch (error) {
        this.note.textContent = error.message;
        return;
      }
    }
    if (!this.read || !this.graph.clientWidth) return;
    const { trace } = this.read;
    if (!trace.length) { this.note.textContent = "Nothing was measured yet."; return; }
    const start = Math.min(this.read.start ?? trace[0][0], trace[0][0]);
    const end = trace[trace.length - 1];
    this.note.textContent = `The share of the room between ideal and limits that the front dominates: ${end[2].toFixed(4)} after ${end[1]} candidates.`;
    const seconds = trace.map(([at]) => (at - start) / 1000);
    const long = seconds[seconds.length - 1] > 600;
    const axis = { color: color("ink"), gridcolor: color("line"), zeroline: false };
    const data = [{
      x: seconds.map((s) => (long ? s / 60 : s)), y: trace.map(([, , volume]) => volume), mode: "lines+markers", fill: "tozeroy", fillcolor: `${color("blue")}1f`,
      line: { color: color("blue"), shape: "hv", width: 2 }, marker: { size: 5 }, text: trace.map(([, count]) => `${count} candidates`), hovertemplate: "%{y:.4f} after %{text}<extra></extra>",
    }];
    const layout = {
      xaxis: { ...axis, title: { text: long ? "minutes" : "seconds" }, rangemode: "tozero" }, yaxis: { ...axis, title: { text: "hypervolume" }, rangemode: "tozero" },
      margin: { l: 64, r: 18, t: 10, b: 46 }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { family: "system-ui, sans-serif", size: 12, color: color("ink") }, showlegend: false,
      hoverlabel: { bgcolor: color("card"), font: { color: color("ink") } },
    };
    Plotly.react(this.graph, data, layout, { displaylogo: false, displayModeBar: false });
    this.drawn = true;
  }
}
