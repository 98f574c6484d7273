import{a as e,c as t,f as n,h as r,m as i,o as a,p as o,u as s}from"./part-DtD-zJOJ.js";var c=`// A 3×3 convolution of the decoder. Before this stand the aliases of the numbers' types: \`Source\`
// is what four channels are read as; \`Number\`, \`Four\` and \`Square\` (4×4) are multiplied.
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
  scale: u32,  // Place in \`file\`; bias and weights follow.
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
@group(0) @binding(1) var<storage, read> file: array<u32>;  // \`decoder.bin\`.
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
`,l=2**23,u={side:16,outputs:8};function d(r,i,a){let{rows:o,columns:s}=r,c=a/n[i];return o*s<=c?[{left:0,top:0,right:s,bottom:o}]:e(r,i,1,Math.floor(Math.sqrt(c))-2*t[i])}function f({around:e,inside:t},n,a,c){let l=e,d=1;return r(c).map(({layer:r,mode:c},f)=>{let m=i(e,d),h=c===s.Pixels,g=h?i(t,d):o(l,n*d,a*d),_=h?g:m,[v,y]=p(m),b=[v,y,g.left-m.left,g.top-m.top,g.right-m.left,g.bottom-m.top,_.left-m.left,_.top-m.top,...p(i(_,r.shuffle)),...f?[1,v*y]:[8,1],r.inputs/4,r.outputs/4,r.shuffle,c,r.scale/4];l=i(g,r.shuffle),d*=r.shuffle;let[x,S]=p(g);return{numbers:b,workgroups:[Math.ceil(x/u.side),Math.ceil(S/u.side),Math.ceil(r.outputs/u.outputs)]}})}function p({left:e,top:t,right:n,bottom:r}){return[n-e,r-t]}var m=256,h;function g(){return h??=y.open().catch(_)}function _(e){console.warn(`latentimg: WebGPU failed; the processor decodes instead.`,e),h=Promise.resolve(void 0)}async function v(e,t,n,r){let i=await g();if(!i)return!1;try{return await i.draw(e,t,n,r),!0}catch(e){return _(e),i.close(),!1}}var y=class e{device;first;others;bytes;files=new Map;last=Promise.resolve();constructor(e,t,n,r){this.device=e,this.first=t,this.others=n,this.bytes=r}static async open(){let t=await navigator.gpu?.requestAdapter();if(!t||t.info.isFallbackAdapter)return;let n=t.features.has(`shader-f16`),r=await t.requestDevice({requiredFeatures:n?[`shader-f16`]:[]}),i=(e,t,i)=>{let a=`alias Source = ${e}; alias Four = ${t}; alias Square = ${i};`,o=`${n?`enable f16;`:``}${a}${c}`,s=r.createShaderModule({code:o});return r.createComputePipelineAsync({layout:`auto`,compute:{module:s}})};if(!n){let t=await i(`vec4f`,`vec4f`,`mat4x4f`);return new e(r,t,t,4)}let a=[`vec4f`,`vec4h`].map(e=>i(e,`vec4h`,`mat4x4h`)),[o,s]=await Promise.all(a);return new e(r,o,s,2)}close(){this.device.destroy()}draw(e,t,n,r){let{rows:i,columns:o}=t,s=8/n,c=Math.min(l,this.device.limits.maxStorageBufferBindingSize/4),u=this.last.then(async()=>{for(let l of d(t,n,c)){let c=a(t,l,n),u=await this.decode(c,o,i,n,r),d=new ImageData(u,(l.right-l.left)*s);e.putImageData(d,l.left*s,l.top*s)}});return this.last=u.catch(()=>{}),u}async decode(e,t,r,i,a){let{device:o}=this;o.pushErrorScope(`out-of-memory`),o.pushErrorScope(`validation`);let{STORAGE:s,UNIFORM:c,COPY_SRC:l,COPY_DST:u,MAP_READ:d}=GPUBufferUsage,h=[],g=(e,t)=>(h.push(o.createBuffer({size:e,usage:t})),h.at(-1)),_=this.files.get(a);_||(_=o.createBuffer({size:a.byteLength,usage:s|u}),o.queue.writeBuffer(_,0,a),this.files.set(a,_));let v=f(e,t,r,i),y=g(v.length*m,c|u);v.forEach(({numbers:e},t)=>o.queue.writeBuffer(y,t*m,Uint32Array.from(e)));let[b,x]=p(e.around),S=Math.max(e.inputs.byteLength,b*x*n[i]*this.bytes),C=g(S,s|u),w=g(S,s);o.queue.writeBuffer(C,0,e.inputs);let[T,E]=p(e.inside),D=4*T*E*(8/i)**2,O=g(D,s|l),k=g(D,d|u),A=o.createCommandEncoder(),j=A.beginComputePass();v.forEach(({numbers:e,workgroups:t},n)=>{let r=n?this.others:this.first,i=[{buffer:y,offset:n*m,size:4*(e.length+1)},_,C,w,O].map((e,t)=>({binding:t,resource:e})),a=r.getBindGroupLayout(0);j.setPipeline(r),j.setBindGroup(0,o.createBindGroup({layout:a,entries:i})),j.dispatchWorkgroups(...t),[C,w]=[w,C]}),j.end(),A.copyBufferToBuffer(O,0,k,0,D),o.queue.submit([A.finish()]);try{let[e,t]=await Promise.all([o.popErrorScope(),o.popErrorScope(),k.mapAsync(GPUMapMode.READ)]);if(e??t)throw e??t;return new Uint8ClampedArray(k.getMappedRange().slice(0))}finally{for(let e of h)e.destroy()}}};export{v as drawOnGpu,g as openGpu};