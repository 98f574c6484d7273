// A 3×3 convolution of the decoder. Before this stand the aliases of the numbers' types: `Source`
// is what four channels are read as; `Number`, `Four` and `Square` (4×4) are multiplied.
//
// Planes are [channels / 4][row][column] of four channels, the inputs [row][column][channels / 4].
// A workgroup makes 16×16 pixels of 8 outputs: for each four inputs it takes the pixels and the
// weights that it needs into shared memory. An invocation makes 4 pixels below one another, because
// neighbouring invocations then read neighbouring pixels, and each read serves up to three of them.

struct Shape {
  size: vec2u,  // Of the source, pixels; beyond it all is 0.
  start: vec2u,  // The outputs, in pixels of the source: from here
  end: vec2u,  // to before here.
  origin: vec2u,  // The target's first pixel, in pixels of the source.
  target_size: vec2u,
  pixel_stride: u32,  // Of the source, in fours.
  quad_stride: u32,
  inputs: u32,  // Fours.
  outputs: u32,  // Fours.
  shuffle: u32,
  mode: u32,
  scale: u32,  // Place in `file`; bias and weights follow.
}

const STORE = 0;
const RELU = 1;
const ADD = 2;
const PIXELS = 3;

const SIDE = 16u;
const WINDOW = SIDE + 2;
const INVOCATIONS = 64u;
const TAPS = 9u;
// Weights in 8 bits are divided by it, so that sums of products fit float16.
const LEVELS = 128;

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> file: array<u32>;  // `decoder.bin`.
@group(0) @binding(2) var<storage, read> source: array<Source>;
@group(0) @binding(3) var<storage, read_write> planes: array<Four>;
@group(0) @binding(4) var<storage, read_write> pixels: array<u32>;  // RGBA.

var<workgroup> window: array<Four, WINDOW * WINDOW>;
var<workgroup> kernel: array<Four, 2 * TAPS * 4>;

@compute @workgroup_size(16, 4)
fn convolve(
  @builtin(workgroup_id) group: vec3u,
  @builtin(local_invocation_id) local: vec3u,
  @builtin(local_invocation_index) index: u32,
) {
  let corner = shape.start + SIDE * group.xy;
  let output = 2 * group.z;
  let first = WINDOW * 4 * local.y + local.x;
  var sums = mat4x4f();  // A column for each pixel, a row for each of four outputs.
  var next_sums = mat4x4f();
  for (var quad = 0u; quad < shape.inputs; quad++) {
    workgroupBarrier();
    for (var at = index; at < WINDOW * WINDOW; at += INVOCATIONS) {
      window[at] = pixel_at(corner + vec2u(at % WINDOW, at / WINDOW) - 1, quad);
    }
    for (var at = index; at < 2 * TAPS * 4; at += INVOCATIONS) {
      let input = at / TAPS % 4;
      let place = (at / (4 * TAPS) * TAPS + at % TAPS) * 4 + input;
      kernel[place] = weights(output + at / (4 * TAPS), 4 * quad + input, at % TAPS);
    }
    workgroupBarrier();
    for (var column = 0u; column < 3; column++) {
      let at = first + column;
      let a = window[at];
      let b = window[at + WINDOW];
      let c = window[at + 2 * WINDOW];
      let d = window[at + 3 * WINDOW];
      let e = window[at + 4 * WINDOW];
      let f = window[at + 5 * WINDOW];
      let above = Square(a, b, c, d);
      let middle = Square(b, c, d, e);
      let below = Square(c, d, e, f);
      sums += mat4x4f(
          tap(column) * above + tap(column + 3) * middle + tap(column + 6) * below);
      let next = TAPS + column;
      next_sums += mat4x4f(
          tap(next) * above + tap(next + 3) * middle + tap(next + 6) * below);
    }
  }
  let place = corner + vec2u(local.x, 4 * local.y);
  finish(place, output, sums);
  finish(place, output + 1, next_sums);
}

fn pixel_at(place: vec2u, quad: u32) -> Four {
  // What is left of 0 or above has wrapped around and is large.
  if (any(place >= shape.size)) { return Four(); }
  let pixel = place.y * shape.size.x + place.x;
  return Four(source[quad * shape.quad_stride + pixel * shape.pixel_stride]);
}

// Of four outputs.
fn weights(output: u32, input: u32, tap: u32) -> Four {
  let levels = shape.scale + 8 * shape.outputs + (output * 4 * shape.inputs + input) * TAPS + tap;
  let bytes = (vec4i(bitcast<i32>(file[levels])) << vec4u(24, 16, 8, 0)) >> vec4u(24);
  return Four(bytes) / LEVELS;
}

fn tap(number: u32) -> Square {
  let at = 4 * number;
  return Square(kernel[at], kernel[at + 1], kernel[at + 2], kernel[at + 3]);
}

fn finish(place: vec2u, output: u32, sums: mat4x4f) {
  if (output >= shape.outputs) { return; }  // A head may have four outputs only.
  let scale = LEVELS * floats(shape.scale + 4 * output);
  let bias = floats(shape.scale + 4 * (shape.outputs + output));
  store(place, output, scale * sums[0] + bias);
  store(place + vec2u(0, 1), output, scale * sums[1] + bias);
  store(place + vec2u(0, 2), output, scale * sums[2] + bias);
  store(place + vec2u(0, 3), output, scale * sums[3] + bias);
}

fn floats(at: u32) -> vec4f {
  return bitcast<vec4f>(vec4u(file[at], file[at + 1], file[at + 2], file[at + 3]));
}

fn store(place: vec2u, output: u32, value: vec4f) {
  if (any(place >= shape.end)) { return; }
  let channels = shape.outputs / (shape.shuffle * shape.shuffle);
  let part = output / channels;
  let to = (place - shape.origin) * shape.shuffle + vec2u(part % 2, part / 2);
  let pixel = to.y * shape.target_size.x + to.x;
  if (shape.mode == PIXELS) {
    let level = vec4u(clamp(round(value * 127.5 + 127.5), vec4f(0), vec4f(255)));
    pixels[pixel] = dot(level, vec4u(1, 1 << 8, 1 << 16, 1 << 24));
    return;
  }
  let at = output % channels * shape.target_size.x * shape.target_size.y + pixel;
  switch (shape.mode) {
    case RELU: { planes[at] = Four(max(value, vec4f(0))); }
    case ADD: { planes[at] = Four(vec4f(planes[at]) + value); }
    default: { planes[at] = Four(value); }
  }
}
