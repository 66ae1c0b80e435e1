// Two charts in SVG. Latencies are on a logarithmic scale: both the many fast and the few slow show.

const LEAST = 10;
const MOST = 1000;
const MARKS = [10, 20, 50, 100, 200, 500, 1000];
const MARGIN = { left: 40, right: 14, top: 12, bottom: 28 };
const LANES = ["plain", "hedged"];

class Chart {
  /// `marks` of the x axis: where, from 0 to 1, and a label.
  constructor(svg, style, marks) {
    this.svg = svg;
    this.style = style;
    this.marks = marks;
    this.latencies = { plain: [], hedged: [] };
    new ResizeObserver(() => this.layOut()).observe(svg);
    this.layOut();
  }

  layOut() {
    const { width, height } = this.svg.getBoundingClientRect();
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.right = width - MARGIN.right;
    this.bottom = height - MARGIN.bottom;
    const rows = MARKS.map((ms) => {
      const y = this.y(ms);
      return `<path class="grid" d="M${MARGIN.left} ${y}H${this.right}"/>
        <text x="${MARGIN.left - 8}" y="${y}" dy=".35em" text-anchor="end">${ms}</text>`;
    });
    const columns = this.marks.map(([at, label]) => {
      const x = this.x(at);
      const anchor = at === 0 ? "start" : at === 1 ? "end" : "middle";
      return `<path class="grid" d="M${x} ${this.bottom}v5"/>
        <text x="${x}" y="${this.bottom + 20}" text-anchor="${anchor}">${label}</text>`;
    });
    const lanes = LANES.map((lane) => `<path class="${this.style} ${lane}" data-lane="${lane}"/>`);
    const names = LANES.map((lane) => `<text class="name ${lane}" data-name="${lane}"></text>`);
    this.svg.innerHTML = [...rows, ...columns, ...lanes, ...names].join("");
    this.draw(this.latencies);
  }

  x(at) {
    return MARGIN.left + at * (this.right - MARGIN.left);
  }

  y(ms) {
    const at = Math.log(Math.min(Math.max(ms, LEAST), MOST) / LEAST) / Math.log(MOST / LEAST);
    return this.bottom - at * (this.bottom - MARGIN.top);
  }

  lane(lane) {
    return this.svg.querySelector(`[data-lane="${lane}"]`);
  }
}

/// A dot for each answer.
export class Answers extends Chart {
  constructor(svg, total) {
    const marks = [0, 1, 2, 3, 4].map((quarter) => [quarter / 4, (quarter * total) / 4]);
    super(svg, "dots", marks);
    this.total = total;
  }

  draw(latencies) {
    this.latencies = latencies;
    for (const lane of LANES) {
      const dots = latencies[lane].map((ms, n) => `M${this.x(n / this.total).toFixed(1)} ${this.y(ms).toFixed(1)}h0`);
      this.lane(lane).setAttribute("d", dots.join(""));
    }
  }
}

const PERCENTILES = [50, 90, 95, 99, 99.9];
// Every tenfold fewer requests take as much room.
const rarity = (share) => (Math.log10(1 - share) - Math.log10(0.5)) / (Math.log10(0.001) - Math.log10(0.5));

/// A curve for each lane, from the median into the tail.
export class Percentiles extends Chart {
  constructor(svg) {
    super(svg, "curve", PERCENTILES.map((p) => [Math.min(rarity(p / 100), 1), `P${p}`]));
  }

  draw(latencies) {
    this.latencies = latencies;
    const ends = [];
    for (const lane of LANES) {
      const sorted = [...latencies[lane]].sort((a, b) => a - b);
      const points = [];
      for (let n = Math.ceil(sorted.length / 2); n < sorted.length; n += 1) {
        const x = this.x(Math.min(rarity(n / sorted.length), 1));
        points.push([x, this.y(sorted[n])]);
      }
      const line = points.map(([x, y]) => `${x.toFixed(1)} ${y.toFixed(1)}`).join("L");
      this.lane(lane).setAttribute("d", line && `M${line}`);
      ends.push([lane, points.at(-1)]);
    }
    this.name(ends);
  }

  /// Writes each lane's name at the end of its curve.
  name(ends) {
    for (const [lane, end] of ends) {
      const name = this.svg.querySelector(`[data-name="${lane}"]`);
      name.textContent = end ? lane[0].toUpperCase() + lane.slice(1) : "";
      if (!end) continue;
      const above = lane === "plain" ? -12 : 22;
      name.setAttribute("x", end[0]);
      name.setAttribute("y", Math.max(end[1] + above, 12));
      name.setAttribute("text-anchor", "end");
    }
  }
}
