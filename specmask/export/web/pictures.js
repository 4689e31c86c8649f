// Spectrograms of before and after, on canvases that fill or scroll.

const RANGE_DB = 80;
const HEAT = [[6, 4, 15], [52, 16, 92], [132, 34, 110], [212, 72, 66], [249, 155, 48], [252, 250, 205]]; // as evaluate.py's
const PALETTE = Array.from({ length: 256 }, (_, i) => {
  const place = (i / 255) * (HEAT.length - 1), k = Math.min(HEAT.length - 2, Math.floor(place));
  return HEAT[k].map((v, c) => v + (place - k) * (HEAT[k + 1][c] - v));
});

class Picture {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.open(1);
  }

  open(width, scrolls = false) {
    Object.assign(this, { width, scrolls, columns: [], loudestDb: LIVE_LOUDEST_DB });
    Object.assign(this.canvas, { width, height: ROWS }); // which clears it
  }

  add(columns) {
    for (const column of columns) {
      this.columns.push(column);
      let x = this.columns.length - 1;
      if (this.scrolls && x >= this.width) {
        this.context.drawImage(this.canvas, -1, 0);
        this.columns.shift();
        x = this.width - 1;
      }
      this.draw(column, x);
    }
  }

  draw(column, x) {
    const image = this.context.createImageData(1, ROWS);
    for (let row = 0; row < ROWS; row++) {
      const share = 1 + (column[row] - this.loudestDb) / RANGE_DB;
      const colour = PALETTE[Math.round(255 * Math.max(0, Math.min(1, share)))], at = 4 * (ROWS - 1 - row);
      image.data.set(colour, at);
      image.data[at + 3] = 255;
    }
    this.context.putImageData(image, x, 0);
  }

  // The level of the lightest colour.
  scaleTo(loudestDb) {
    if (Math.abs(loudestDb - this.loudestDb) < 0.1) return;
    this.loudestDb = loudestDb;
    this.columns.forEach((column, x) => this.draw(column, x));
  }
}

const LIVE_LOUDEST_DB = -20, LIVE_SECONDS = 9;
const pictures = { before: new Picture($("picture-before")), after: new Picture($("picture-after")) };

function openPictures(rate, width, scrolls) {
  for (const picture of Object.values(pictures)) picture.open(width, scrolls);
  const top = toMel(rate / 2), marks = [500, 1000, 2000, 4000, 8000, 16000].filter((hz) => toMel(hz) < 0.96 * top);
  for (const scale of document.querySelectorAll(".scale")) {
    scale.replaceChildren(...marks.map((hz) => {
      const mark = document.createElement("span");
      mark.textContent = hz < 1000 ? `${hz} Hz` : `${hz / 1000} kHz`;
      mark.style.bottom = `${(100 * toMel(hz)) / top}%`;
      return mark;
    }));
  }
}

function drawAxis(seconds) {
  const step = [0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 43200, 86400].find((s) => seconds / s <= 7);
  const marks = [];
  for (let t = 0; t <= seconds; t += step) {
    const mark = document.createElement("span");
    mark.textContent = clock(t, step < 1 ? 1 : 0);
    mark.style.left = `${(100 * t) / seconds}%`;
    if (t > 0.97 * seconds) mark.className = "end";
    marks.push(mark);
  }
  $("axis").replaceChildren(...marks);
}
