// Elements, messages, and how figures are written.

const $ = (id) => document.getElementById(id);
const show = (element, shown) => { element.hidden = !shown; };
const plural = (count, noun) => `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
const clock = (seconds, digits = 0) => {
  const whole = digits ? seconds : Math.round(seconds), hours = Math.floor(whole / 3600);
  const minutes = Math.floor(whole / 60) % 60, rest = (whole % 60).toFixed(digits).padStart(digits ? 3 + digits : 2, "0");
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
};
const khz = (rate) => `${+(rate / 1000).toFixed(3)} kHz`;
const channelWords = (count) => ({ 1: "mono", 2: "stereo" }[count] ?? `${count} channels`);
const sampleWords = ({ float, bytes }) => `${8 * bytes} bit${float ? " float" : ""}`;

function problem(text) {
  $("problem").textContent = text;
  show($("problem"), Boolean(text));
}

function busy(text) {
  $("drop").textContent = text || "Drop a recording here";
  document.body.classList.toggle("busy", Boolean(text));
}

function chip(text) {
  const element = document.createElement("span");
  element.className = "chip";
  element.textContent = text;
  return element;
}
