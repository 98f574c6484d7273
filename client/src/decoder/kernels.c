// The sums of the decoder and of the prior in WebAssembly SIMD. No library, no allocation: the
// caller says where everything is.
//
// The decoder's are 3×3 convolutions by Winograd's F(4×4, 3×3) (Lavin and Gray, "Fast algorithms
// for convolutional neural networks", 2016): a tile of 4×4 outputs takes 36 products for each pair
// of channels where 144 are usual. Activations are float32 (row, column, channel). A batch of tiles
// is transformed into `windows` [36][BATCH][inputs], multiplied by the transformed weights into
// `products` [36][BATCH][outputs], and transformed back.
//
// The prior's are integers in float64, exact in any order.

#include <stdint.h>
#include <wasm_simd128.h>

#define EXPORT(name) __attribute__((export_name(#name)))
#define INLINE static inline __attribute__((always_inline))

enum { BATCH = 16, POINTS = 36 };

// What becomes of an output.
enum { STORE, RELU, ADD, PIXELS };

typedef v128_t Four;  // Floats of four neighbouring channels.

INLINE Four load(const float *at) { return wasm_v128_load(at); }
INLINE Four splat(float value) { return wasm_f32x4_splat(value); }
INLINE Four add(Four a, Four b) { return wasm_f32x4_add(a, b); }
INLINE Four sub(Four a, Four b) { return wasm_f32x4_sub(a, b); }
INLINE Four mul(Four a, float b) { return wasm_f32x4_mul(a, splat(b)); }

#define EACH(i, count) for (int i = 0; i < (count); i++)

// The polynomials are known at 0, ±NEAR, ±FAR and infinity. Lavin and Gray's points, ±1 and ±2, have
// more rounding error for as many products. A window's factors are exact in float32.
#define NEAR 0.625f
#define FAR 1.5f

INLINE void transform_weights(const Four g[3], Four to[], int step) {
  const float near = 1 / (2 * NEAR * NEAR * (NEAR * NEAR - FAR * FAR));
  const float far = 1 / (2 * FAR * FAR * (FAR * FAR - NEAR * NEAR));
  Four even = mul(add(g[0], mul(g[2], NEAR * NEAR)), near), odd = mul(g[1], NEAR * near);
  Four far_even = mul(add(g[0], mul(g[2], FAR * FAR)), far), far_odd = mul(g[1], FAR * far);
  to[0] = mul(g[0], 1 / (NEAR * NEAR * FAR * FAR));
  to[step] = add(even, odd);
  to[2 * step] = sub(even, odd);
  to[3 * step] = add(far_even, far_odd);
  to[4 * step] = sub(far_even, far_odd);
  to[5 * step] = g[2];
}

INLINE void transform_window(const Four d[6], Four to[], int step) {
  const float product = NEAR * NEAR * FAR * FAR, sum = NEAR * NEAR + FAR * FAR;
  Four even = sub(d[4], mul(d[2], FAR * FAR)), far_even = sub(d[4], mul(d[2], NEAR * NEAR));
  Four odd = mul(sub(d[3], mul(d[1], FAR * FAR)), NEAR);
  Four far_odd = mul(sub(d[3], mul(d[1], NEAR * NEAR)), FAR);
  to[0] = add(sub(mul(d[0], product), mul(d[2], sum)), d[4]);
  to[step] = add(even, odd);
  to[2 * step] = sub(even, odd);
  to[3 * step] = add(far_even, far_odd);
  to[4 * step] = sub(far_even, far_odd);
  to[5 * step] = add(sub(mul(d[1], product), mul(d[3], sum)), d[5]);
}

INLINE void transform_back(const Four m[6], Four to[], int step) {
  Four even = add(m[1], m[2]), odd = sub(m[1], m[2]);
  Four far_even = add(m[3], m[4]), far_odd = sub(m[3], m[4]);
  to[0] = add(add(m[0], even), far_even);
  to[step] = add(mul(odd, NEAR), mul(far_odd, FAR));
  to[2 * step] = add(mul(even, NEAR * NEAR), mul(far_even, FAR * FAR));
  to[3 * step] = add(add(mul(odd, NEAR * NEAR * NEAR), mul(far_odd, FAR * FAR * FAR)), m[5]);
}

// int8 [outputs / 4][inputs][9][4] and float [outputs] -> float [36][outputs / 4][inputs][4].
EXPORT(prepare)
void prepare(const int8_t *levels, const float *scale, int inputs, int outputs, float *weights) {
  for (int block = 0; block < outputs / 4; block++) {
    Four scales = load(scale + 4 * block);
    for (int input = 0; input < inputs; input++, levels += 36) {
      Four kernel[3][3], half[3][6], whole[6][6];
      EACH(row, 3) EACH(column, 3) {
        Four wide = wasm_i16x8_extend_low_i8x16(
            wasm_v128_load32_zero(levels + 4 * (3 * row + column)));
        kernel[row][column] = wasm_f32x4_mul(
            wasm_f32x4_convert_i32x4(wasm_i32x4_extend_low_i16x8(wide)), scales);
      }
      EACH(row, 3) transform_weights(kernel[row], half[row], 1);
      EACH(column, 6) {
        Four line[3] = {half[0][column], half[1][column], half[2][column]};
        transform_weights(line, &whole[0][column], 6);
      }
      EACH(row, 6) EACH(column, 6)
        wasm_v128_store(
            weights + ((6 * row + column) * (outputs / 4) + block) * inputs * 4 + input * 4,
            whole[row][column]);
    }
  }
}

typedef struct {
  const float *source;
  int stride, width, height;  // Pixels; beyond width and height all is 0.
} Source;

INLINE void transform_tile(
    const Source *source, int left, int top, int inputs, float *windows, int tile) {
  for (int channel = 0; channel < inputs; channel += 4) {
    Four half[6][6], whole[6][6];
    EACH(row, 6) {
      Four line[6];
      int y = top + row;
      const float *start = source->source + (y * source->stride + left) * inputs + channel;
      EACH(column, 6) {
        int x = left + column;
        int inside = y >= 0 && y < source->height && x >= 0 && x < source->width;
        line[column] = inside ? load(start + column * inputs) : splat(0);
      }
      transform_window(line, half[row], 1);
    }
    EACH(column, 6) {
      Four line[6];
      EACH(row, 6) line[row] = half[row][column];
      transform_window(line, &whole[0][column], 6);
    }
    EACH(point, POINTS)
      wasm_v128_store(
          windows + (point * BATCH + tile) * inputs + channel, whole[point / 6][point % 6]);
  }
}

// Four tiles by `blocks` times four outputs: the sums stay in registers, and eight are the fastest.
// `inputs` is a constant where this is inlined, so that distances are part of the instructions.
INLINE void multiply_block(
    const float *windows, const float *weights, float *products, int inputs, int outputs,
    int blocks) {
  Four sums[4][2];
  EACH(tile, 4) EACH(block, blocks) sums[tile][block] = splat(0);
  for (int input = 0; input < inputs; input++) {
    EACH(tile, 4) EACH(block, blocks) {
      Four value = wasm_v128_load32_splat(windows + tile * inputs + input);
      Four weight = load(weights + 4 * (block * inputs + input));
      sums[tile][block] = add(sums[tile][block], wasm_f32x4_mul(value, weight));
    }
  }
  EACH(tile, 4) EACH(block, blocks)
    wasm_v128_store(products + tile * outputs + 4 * block, sums[tile][block]);
}

INLINE void multiply(
    const float *windows, const float *weights, float *products, int inputs, int outputs,
    int tiles) {
  for (int point = 0; point < POINTS; point++) {
    for (int output = 0; output < outputs; output += 8) {
      for (int tile = 0; tile < tiles; tile += 4) {
        const float *from = windows + (point * BATCH + tile) * inputs;
        float *to = products + (point * BATCH + tile) * outputs + output;
        if (outputs - output >= 8) multiply_block(from, weights, to, inputs, outputs, 2);
        else multiply_block(from, weights, to, inputs, outputs, 1);
      }
      weights += (outputs - output >= 8 ? 8 : 4) * inputs;
    }
  }
}

INLINE void store_pixel(uint8_t *to, Four value) {
  Four level = wasm_f32x4_nearest(add(mul(value, 127.5f), splat(127.5f)));
  v128_t words = wasm_i32x4_trunc_sat_f32x4(level);
  words = wasm_i16x8_narrow_i32x4(words, words);
  wasm_v128_store32_lane(to, wasm_u8x16_narrow_i16x8(words, words), 0);
}

// Output (x, y) is of the source's pixels around (x + left, y + top). With `shuffle` 2 an output
// becomes 2×2 pixels of the target, whose channels follow one another. `target` is float32, of
// PIXELS uint8; `target_stride` counts its pixels. Windows and products are scratch.
EXPORT(convolve)
void convolve(
    const float *source, int source_stride, int source_width, int source_height,
    void *target, int target_stride, int width, int height, int left, int top,
    const float *weights, const float *bias, int inputs, int outputs, int shuffle, int mode,
    float *windows, float *products) {
  const Source from = {source, source_stride, source_width, source_height};
  int columns = (width + 3) / 4, rows = (height + 3) / 4, count = columns * rows;
  int channels = outputs / (shuffle * shuffle);
  for (int first = 0; first < count; first += BATCH) {
    int tiles = count - first < BATCH ? count - first : BATCH;
    for (int tile = 0; tile < tiles; tile++) {
      int x = (first + tile) % columns * 4, y = (first + tile) / columns * 4;
      transform_tile(&from, x + left - 1, y + top - 1, inputs, windows, tile);
    }
    switch (inputs) {
      case 32: multiply(windows, weights, products, 32, outputs, tiles); break;
      case 64: multiply(windows, weights, products, 64, outputs, tiles); break;
      case 128: multiply(windows, weights, products, 128, outputs, tiles); break;
      default: __builtin_trap();
    }
    for (int tile = 0; tile < tiles; tile++) {
      int left_edge = (first + tile) % columns * 4, top_edge = (first + tile) / columns * 4;
      for (int output = 0; output < outputs; output += 4) {
        Four half[6][4], whole[4][4];
        EACH(row, 6) {
          Four line[6];
          EACH(column, 6)
            line[column] =
                load(products + ((6 * row + column) * BATCH + tile) * outputs + output);
          transform_back(line, half[row], 1);
        }
        EACH(column, 4) {
          Four line[6];
          EACH(row, 6) line[row] = half[row][column];
          transform_back(line, &whole[0][column], 4);
        }
        Four offset = load(bias + output);
        int part = output / channels, channel = output % channels;
        int down = part / 2, right = part % 2;
        EACH(row, 4) EACH(column, 4) {
          int x = left_edge + column, y = top_edge + row;
          if (x >= width || y >= height) continue;
          int pixel = (y * shuffle + down) * target_stride + x * shuffle + right;
          int at = pixel * channels + channel;
          float *to = (float *)target + at;
          Four value = add(whole[row][column], offset);
          if (mode == RELU) value = wasm_f32x4_pmax(splat(0), value);
          if (mode == ADD) value = add(value, load(to));
          if (mode == PIXELS) store_pixel((uint8_t *)target + at, value);
          else wasm_v128_store(to, value);
        }
      }
    }
  }
}

// Bytes of `windows` or `products` for that many inputs or outputs.
EXPORT(scratch)
int scratch(int channels) { return POINTS * BATCH * channels * (int)sizeof(float); }

// Adds `values` times the rows `at` of `weights` to `sums`. Inputs of 0, which most are, are left
// out of the values.
INLINE void accumulate_rows(
    const double *values, const int *at, int count, const double *weights, int rows, double *sums,
    int pairs) {
  v128_t held[8];
  EACH(i, pairs) held[i] = wasm_v128_load(sums + 2 * i);
  for (int input = 0; input < count; input++) {
    v128_t value = wasm_v128_load64_splat(values + input);
    const double *row = weights + at[input] * rows;
    EACH(i, pairs)
      held[i] = wasm_f64x2_add(held[i], wasm_f64x2_mul(value, wasm_v128_load(row + 2 * i)));
  }
  EACH(i, pairs) wasm_v128_store(sums + 2 * i, held[i]);
}

EXPORT(accumulate)
void accumulate(
    const double *values, const int *at, int count, const double *weights, int rows, double *sums) {
  int row = 0;
  for (; row + 16 <= rows; row += 16)
    accumulate_rows(values, at, count, weights + row, rows, sums + row, 8);
  for (; row < rows; row += 2)
    accumulate_rows(values, at, count, weights + row, rows, sums + row, 1);
}

enum { MOST_HIDDEN = 64 };

typedef struct {
  double values[MOST_HIDDEN];
  int at[MOST_HIDDEN], count;
} Active;

static void activate(const double *layer, int hidden, Active *active) {
  active->count = 0;
  for (int unit = 0; unit < hidden; unit++) {
    if (layer[unit] < 4096) continue;
    double value = __builtin_floor(layer[unit] / 4096);
    active->values[active->count] = value < 32768 ? value : 32768;
    active->at[active->count++] = unit;
  }
}

// The prior's network for one symbol after the first layer, whose hidden + 2 sums are in `layer`.
// The last two become the outputs.
EXPORT(finish_layers)
void finish_layers(
    double *layer, int hidden, const double *weights, const double *bias, const double *output) {
  Active active;
  double second[MOST_HIDDEN];
  activate(layer, hidden, &active);
  for (int unit = 0; unit < hidden; unit++) second[unit] = bias[unit];
  accumulate(active.values, active.at, active.count, weights, hidden, second);
  activate(second, hidden, &active);
  accumulate(active.values, active.at, active.count, output, 2, layer + hidden);
}
