// The engine of an exported page under Node, for the parity report and tests:
//   node node.js INDEX.HTML RATE CHANNELS [scalar] < noisy > enhanced
// Samples are float32, those of all channels interleaved.
const fs = require("fs");

const [, , path, rate, channels, kind = "simd"] = process.argv;
const html = fs.readFileSync(path, "utf8");
const part = (id) => html.match(new RegExp(`<script[^>]* id="${id}">(.*?)</script>`, "s"))[1];
const page = JSON.parse(part("model"));
const binary = (text) => Uint8Array.from(Buffer.from(text, "base64")).buffer;
const { Enhancer } = new Function(`${part("sound")}; return { Enhancer };`)();

const input = fs.readFileSync(0), frames = input.length / 4 / channels;
const noisy = new Float32Array(Uint8Array.from(input).buffer);
const { mix, max_suppression_db: maxSuppressionDb, post_gain_db: gainDb } = page.knobs;
const model = { program: binary(page.program), wasm: binary(page[kind]) };
const enhancer = new Enhancer(model, Number(rate), Number(channels), { mix, maxSuppressionDb, gainDb });
const output = new Float32Array(frames * channels);
let done = 0;
const put = (y) => {
  y.forEach((channel, c) => channel.forEach((v, n) => { output[(done + n) * channels + c] = v; }));
  done += y[0].length;
};
const size = 2 * rate; // as the worker's blocks
for (let at = 0; at < frames; at += size) {
  const count = Math.min(size, frames - at);
  put(enhancer.feed(Array.from({ length: channels }, (_, c) => Float32Array.from({ length: count }, (_, n) => noisy[(at + n) * channels + c]))));
}
put(enhancer.flush());
fs.writeSync(1, new Uint8Array(output.buffer));
