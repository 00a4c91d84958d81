"""The page's script: values under the pointer, series on and off, light and dark. The page can be read without it."""

from __future__ import annotations

import base64
import hashlib

SCRIPT = """
(() => {
  "use strict";
  const root = document.documentElement;
  root.classList.add("js");
  const hidden = new Set();
  const all = (selector, scope = document) => [...scope.querySelectorAll(selector)];

  const toggle = (key) => {
    const off = !hidden.has(key);
    if (off) hidden.add(key); else hidden.delete(key);
    all(`[id$="-series-${key}"]`).forEach((group) => { group.style.display = off ? "none" : ""; });
    all(`button[data-series="${key}"]`).forEach((button) => button.setAttribute("aria-pressed", String(!off)));
  };
  all("button[data-series]").forEach((button) => {
    button.addEventListener("click", () => toggle(button.dataset.series));
  });

  const nearest = (numbers, to) => numbers.reduce((best, n) => (Math.abs(n - to) < Math.abs(best - to) ? n : best));

  const reader = (figure) => {
    const area = figure.querySelector(".plot");
    const svg = area.querySelector("svg");
    const tip = figure.querySelector(".tip");
    const plot = JSON.parse(figure.querySelector("script[type='application/json']").textContent);
    const [left, top, right, bottom] = plot.box;
    const line = document.createElementNS("http://www.w3.org/2000/svg", "line");
    line.setAttribute("class", "cursor");
    line.setAttribute("y1", top);
    line.setAttribute("y2", bottom);
    svg.append(line);
    let at = null;

    const points = () => plot.series.filter((series) => !hidden.has(series.key)).flatMap(
      (series) => series.points.map(([x, y, where, value]) => ({ x, y, where, value, label: series.label })));
    const hide = () => { at = null; tip.hidden = true; line.style.display = "none"; };

    const show = (x, y) => {
      const visible = points();
      if (!visible.length) return hide();
      const column = nearest(visible.map((point) => point.x), x);
      let here = visible.filter((point) => Math.abs(point.x - column) < 0.05);
      if (plot.kind === "cell") {
        const row = nearest(here.map((point) => point.y), y);
        here = here.filter((point) => Math.abs(point.y - row) < 0.05);
      }
      at = { x: column, y: here[0].y };
      tip.replaceChildren();
      const head = document.createElement("strong");
      head.textContent = here[0].where;
      tip.append(head);
      here.forEach((point) => {
        const row = document.createElement("div");
        row.textContent = point.label ? `${point.label}: ${point.value}` : point.value;
        tip.append(row);
      });
      tip.hidden = false;
      if (plot.kind === "column") {
        line.style.display = "";
        line.setAttribute("x1", column);
        line.setAttribute("x2", column);
      }
      place(column, at.y);
    };

    const place = (x, y) => {
      const box = svg.getBoundingClientRect();
      const scale = box.width / svg.viewBox.baseVal.width;
      const width = area.clientWidth - tip.offsetWidth;
      const aside = x * scale + 12 > width ? x * scale - tip.offsetWidth - 12 : x * scale + 12;
      tip.style.left = `${Math.max(0, Math.min(aside, width))}px`;
      const height = plot.kind === "cell" ? y * scale + 14 : top * scale + 4;
      tip.style.top = `${Math.max(0, Math.min(height, area.clientHeight - tip.offsetHeight))}px`;
    };

    area.addEventListener("pointermove", (event) => {
      const matrix = svg.getScreenCTM();
      if (!matrix) return;
      const spot = new DOMPoint(event.clientX, event.clientY).matrixTransform(matrix.inverse());
      const inside = spot.x >= left - 8 && spot.x <= right + 8 && spot.y >= top - 8 && spot.y <= bottom + 8;
      if (inside) show(spot.x, spot.y); else hide();
    });
    area.addEventListener("pointerleave", hide);
    area.addEventListener("blur", hide);
    area.addEventListener("keydown", (event) => {
      const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
      if (event.key === "Escape") return hide();
      const step = steps[event.key];
      if (!step || (step[1] && plot.kind === "column")) return undefined;
      event.preventDefault();
      const visible = points();
      const moved = (axis, by) => {
        const places = [...new Set(visible.map((point) => point[axis]))].sort((a, b) => a - b);
        const index = at === null ? 0 : places.indexOf(nearest(places, at[axis])) + by;
        return places[Math.max(0, Math.min(index, places.length - 1))];
      };
      if (visible.length) show(moved("x", step[0]), moved("y", step[1]));
      return undefined;
    });
    hide();
  };
  all("figure[data-plot]").forEach(reader);

  const theme = document.getElementById("theme");
  const dark = () => (root.dataset.theme
    ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches);
  theme.addEventListener("click", () => { root.dataset.theme = dark() ? "light" : "dark"; });
})();
"""

_DIGEST = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()

POLICY = f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{_DIGEST}'"
"""The page's content security policy: no request, and no script but this one."""
