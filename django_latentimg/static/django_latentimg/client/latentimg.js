var e=class extends Error{name=`BlobError`},t=1279872327,n=[3,4,5],r=1,i=2**26,a=25,o=4,s=5,c=[`S`,`P`,`I`];function l(o){let s=new DataView(o.buffer,o.byteOffset,o.byteLength);if(o.length<4||s.getUint32(0)!==t)throw new e(`These bytes are not a latent blob.`);if(o.length<a)throw new e(`The blob ends within its header.`);let c=s.getUint8(4);if(!n.includes(c))throw new e(`The blob has version ${c}.`);d(s,0,21,`header`);let l={version:c,width:s.getUint32(6),height:s.getUint32(10),quality:s.getUint8(15),fineness:s.getUint8(16),model:s.getUint32(17).toString(16).padStart(8,`0`)},f=s.getUint8(5),p=s.getUint8(14),m=[l.quality,l.fineness].every(e=>e>=1&&e<=100);if(f!==0||p!==r||!m)throw new e(`The blob's header has values that this version does not know.`);let h=l.width*l.height;if(h<1||h>i)throw new e(`${l.width} × ${l.height} pixels; up to ${i} are read.`);return{header:l,chunks:u(o,s)}}function u(t,n){let r=new Map,i=a;for(;i<t.length;){let a=i+s;if(a>t.length)throw new e(`The blob ends within a chunk.`);let c=String.fromCharCode(n.getUint8(i)),l=a+n.getUint32(i+1);if(l+o>t.length)throw new e(`The blob ends within a chunk.`);if(d(n,i,l,`chunk ${c}`),r.has(c))throw new e(`The blob has chunk ${c} twice.`);r.set(c,t.subarray(a,l)),i=l+o}if(c.filter(e=>r.has(e)).length!==1)throw new e(`The blob has no picture, or has more than one.`);return r}function d(t,n,r,i){let a=-1;for(let e=n;e<r;e++)a=f[(a^t.getUint8(e))&255]^a>>>8;if(~a>>>0!==t.getUint32(r))throw new e(`The blob's ${i} is damaged.`)}var f=Int32Array.from({length:256},(e,t)=>{for(let e=0;e<8;e++)t=t&1?3988292384^t>>>1:t>>>1;return t}),p=`sha384-hGifijPXPLLmr5sm7o3oEy9HOVfnxi0s86dE2cPzTp3T7e5iObmbEfXajPA4Dlt2`,m=new URL(`decoder-CFuLwb8_.bin`,import.meta.url).href,h=`sha384-B2ON8S/w3p0WS8AhBpzzHhwnULcV5hP9I1b7I5g+G7jPMSbIYun7Lr48smfAVlO+`,g=new URL(`kernels-ByNwV8zW.wasm`,import.meta.url).href,_=[8,4,2,1],v={8:7,4:7,2:13,1:14},[y,b,x]=[128,64,32],S={eighth:4,quarter:2,half:1},C={8:y,4:y,2:4*b,1:16*x};4*b;var w=function(e){return e[e.Store=0]=`Store`,e[e.Relu=1]=`Relu`,e[e.Add=2]=`Add`,e[e.Pixels=3]=`Pixels`,e}({});function T(){let e=0;function t(t,n,r=1){let i=e,a=i+4*n,o=a+4*n;return e=o+9*t*n,{inputs:t,outputs:n,shuffle:r,scale:i,bias:a,levels:o}}let n=e=>[{layer:t(e,e),mode:1},{layer:t(e,e),mode:2}],r=(e,t)=>Array.from({length:t},()=>n(e));return{layers:{enter:t(32,y),eighth:r(y,S.eighth),quarter:r(b,S.quarter),half:r(x,S.half),toQuarter:t(y,4*b,2),toHalf:t(b,4*x,2),small:t(y,b),smallBlock:n(b),eighthHead:t(b,4),quarterHead:t(b,16,2),halfHead:t(b,16,2),fullHead:t(x,16,2)},length:e}}var{layers:E,length:D}=T();function O(e){let t=e=>({layer:e,mode:0}),n=e=>({layer:e,mode:3}),[r,...i]=E.eighth,a=[t(E.enter),...r];return e>2?(a.push({layer:E.small,mode:1},...E.smallBlock),[...a,n(e===8?E.eighthHead:E.quarterHead)]):(a.push(...i.flat(),t(E.toQuarter),...E.quarter.flat()),e===2?[...a,n(E.halfHead)]:[...a,t(E.toHalf),...E.half.flat(),n(E.fullHead)])}function ee(e,t,n){return{left:e.left&&e.left+1,top:e.top&&e.top+1,right:e.right-+(e.right<t),bottom:e.bottom-+(e.bottom<n)}}function k({left:e,top:t,right:n,bottom:r},i){return{left:e*i,top:t*i,right:n*i,bottom:r*i}}var A=new URL(`worker-Cd9q1vGM.js`,import.meta.url).href,te=4,ne=class{equipment;size=Math.max(1,Math.min(navigator.hardwareConcurrency||1,te));waiting=[];idle=[];busy=new Map;constructor(e){this.equipment=e;for(let e=0;e<this.size;e++)this.start()}get broken(){return!this.idle.length&&!this.busy.size}run(e){return new Promise((t,n)=>{this.waiting.push({prepare:e,resolve:t,reject:n}),this.assign()})}assign(){for(;this.idle.length&&this.waiting.length;){let e=this.idle.pop(),t=this.waiting.shift();this.busy.set(e,t);let{task:n,transfer:r=[]}=t.prepare();e.postMessage(n,r)}}start(){let t=new Worker(j(new URL(A,import.meta.url)),{type:`module`});t.onmessage=({data:n})=>{let r=this.busy.get(t);this.busy.delete(t),this.idle.push(t),this.assign(),`result`in n?r.resolve(n.result):r.reject(n.damaged?new e(n.error):Error(n.error))},t.onerror=()=>this.discard(t),t.postMessage(this.equipment),this.idle.push(t)}discard(e){e.terminate();let t=Error(`A worker of the decoder could not be loaded, or has died.`);if(this.busy.get(e)?.reject(t),this.busy.delete(e),this.idle.includes(e)&&this.idle.splice(this.idle.indexOf(e),1),this.broken)for(let e of this.waiting.splice(0))e.reject(t)}};function j(e){if(e.origin===location.origin)return e;let t=new Blob([`import ${JSON.stringify(e)}`],{type:`text/javascript`});return URL.createObjectURL(t)}var re={8:128,4:128,2:96,1:64};function M(e,t,n,r=re[t]){let{rows:i,columns:a}=e,o=2*v[t],s=Math.max(o,Math.min(r,Math.ceil(Math.sqrt(i*a/n)))),c=[];for(let[e,t]of N(i,s))for(let[n,r]of N(a,s))c.push({left:n,top:e,right:r,bottom:t});return c}function N(e,t){let n=Math.ceil(e/t);return Array.from({length:n},(t,r)=>[Math.round(r*e/n),Math.round((r+1)*e/n)])}function P(e,t,n){let{rows:r,columns:i,rounded:a,hints:o,step:s}=e,c=v[n],l={left:Math.max(0,t.left-c),top:Math.max(0,t.top-c),right:Math.min(i,t.right+c),bottom:Math.min(r,t.bottom+c)},u=r*i,d=(l.right-l.left)*(l.bottom-l.top),f=new Float32Array(d*32),p=0;for(let e=l.top;e<l.bottom;e++)for(let t=l.left;t<l.right;t++,p+=32){let n=e*i+t;for(let e=0;e<4;e++)f[p+e]=a[e*u+n];f[p+4]=s;for(let e=0;e<8;e++)f[p+5+e]=o[e*u+n];for(let e=0;e<16;e++)f[p+16+e]=f[p+e]/128}return{inside:t,around:l,inputs:f}}var ie=`// A 3×3 convolution of the decoder. Before this stand the aliases of the numbers' types: \`Source\`
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
`,ae=2**23,F={side:16,outputs:8};function oe(e,t,n){let{rows:r,columns:i}=e,a=n/C[t];return r*i<=a?[{left:0,top:0,right:i,bottom:r}]:M(e,t,1,Math.floor(Math.sqrt(a))-2*v[t])}function se({around:e,inside:t},n,r,i){let a=e,o=1;return O(i).map(({layer:i,mode:s},c)=>{let l=k(e,o),u=s===w.Pixels,d=u?k(t,o):ee(a,n*o,r*o),f=u?d:l,[p,m]=I(l),h=[p,m,d.left-l.left,d.top-l.top,d.right-l.left,d.bottom-l.top,f.left-l.left,f.top-l.top,...I(k(f,i.shuffle)),...c?[1,p*m]:[8,1],i.inputs/4,i.outputs/4,i.shuffle,s,i.scale/4];a=k(d,i.shuffle),o*=i.shuffle;let[g,_]=I(d);return{numbers:h,workgroups:[Math.ceil(g/F.side),Math.ceil(_/F.side),Math.ceil(i.outputs/F.outputs)]}})}function I({left:e,top:t,right:n,bottom:r}){return[n-e,r-t]}var L=256,R;function z(){return R??=le.open().catch(B)}function B(e){console.warn(`latentimg: WebGPU failed; the processor decodes instead.`,e),R=Promise.resolve(void 0)}async function ce(e,t,n,r){let i=await z();if(!i)return!1;try{return await i.draw(e,t,n,r),!0}catch(e){return B(e),i.close(),!1}}var le=class e{device;first;others;bytes;file;last=Promise.resolve();constructor(e,t,n,r){this.device=e,this.first=t,this.others=n,this.bytes=r}static async open(){let t=await navigator.gpu?.requestAdapter();if(!t||t.info.isFallbackAdapter)return;let n=t.features.has(`shader-f16`),r=await t.requestDevice({requiredFeatures:n?[`shader-f16`]:[]}),i=(e,t,i)=>{let a=`alias Source = ${e}; alias Four = ${t}; alias Square = ${i};`,o=`${n?`enable f16;`:``}${a}${ie}`,s=r.createShaderModule({code:o});return r.createComputePipelineAsync({layout:`auto`,compute:{module:s}})};if(!n){let t=await i(`vec4f`,`vec4f`,`mat4x4f`);return new e(r,t,t,4)}let a=[`vec4f`,`vec4h`].map(e=>i(e,`vec4h`,`mat4x4h`)),[o,s]=await Promise.all(a);return new e(r,o,s,2)}close(){this.device.destroy()}draw(e,t,n,r){let{rows:i,columns:a}=t,o=8/n,s=Math.min(ae,this.device.limits.maxStorageBufferBindingSize/4),c=this.last.then(async()=>{for(let c of oe(t,n,s)){let s=P(t,c,n),l=await this.decode(s,a,i,n,r),u=new ImageData(l,(c.right-c.left)*o);e.putImageData(u,c.left*o,c.top*o)}});return this.last=c.catch(()=>{}),c}async decode(e,t,n,r,i){let{device:a}=this;a.pushErrorScope(`out-of-memory`),a.pushErrorScope(`validation`);let{STORAGE:o,UNIFORM:s,COPY_SRC:c,COPY_DST:l,MAP_READ:u}=GPUBufferUsage,d=[],f=(e,t)=>(d.push(a.createBuffer({size:e,usage:t})),d.at(-1));this.file||(this.file=a.createBuffer({size:i.byteLength,usage:o|l}),a.queue.writeBuffer(this.file,0,i));let p=se(e,t,n,r),m=f(p.length*L,s|l);p.forEach(({numbers:e},t)=>a.queue.writeBuffer(m,t*L,Uint32Array.from(e)));let[h,g]=I(e.around),_=Math.max(e.inputs.byteLength,h*g*C[r]*this.bytes),v=f(_,o|l),y=f(_,o);a.queue.writeBuffer(v,0,e.inputs);let[b,x]=I(e.inside),S=4*b*x*(8/r)**2,w=f(S,o|c),T=f(S,u|l),E=a.createCommandEncoder(),D=E.beginComputePass();p.forEach(({numbers:e,workgroups:t},n)=>{let r=n?this.others:this.first,i=[{buffer:m,offset:n*L,size:4*(e.length+1)},this.file,v,y,w].map((e,t)=>({binding:t,resource:e})),o=r.getBindGroupLayout(0);D.setPipeline(r),D.setBindGroup(0,a.createBindGroup({layout:o,entries:i})),D.dispatchWorkgroups(...t),[v,y]=[y,v]}),D.end(),E.copyBufferToBuffer(w,0,T,0,S),a.queue.submit([E.finish()]);try{let[e,t]=await Promise.all([a.popErrorScope(),a.popErrorScope(),T.mapAsync(GPUMapMode.READ)]);if(e??t)throw e??t;return new Uint8ClampedArray(T.getMappedRange().slice(0))}finally{for(let e of d)e.destroy()}}},V=3,H=129;function U(e,t,n){if(e[0]!==H||e.length<V)return e;let r=[...e.subarray(0,V),0],i=e.subarray(V),a=[...W(`ispe`,[0,0,0,0,...G(t),...G(n)]),...W(`pixi`,[0,0,0,0,3,8,8,8]),...W(`av1C`,r),...W(`colr`,[...K(`nclx`),0,1,0,13,0,6,128])],o=[0,0,0,0,0,0,0,1,0,1,4,1,2,131,4],s=W(`infe`,[2,0,0,0,0,1,0,0,...K(`av01Color`),0]),c=e=>W(`meta`,[0,0,0,0,...W(`hdlr`,[0,0,0,0,0,0,0,0,...K(`pict`),...Array(13).fill(0)]),...W(`pitm`,[0,0,0,0,0,1]),...W(`iloc`,[0,0,0,0,68,0,0,1,0,1,0,0,0,1,...G(e),...G(i.length)]),...W(`iinf`,[0,0,0,0,0,1,...s]),...W(`iprp`,[...W(`ipco`,a),...W(`ipma`,o)])]),l=W(`ftyp`,[...K(`avif`),0,0,0,0,...K(`avifmif1miafMA1B`)]),u=[...G(8+i.length),...K(`mdat`)],d=l.length+c(0).length+u.length,f=new Uint8Array(d+i.length);return f.set([...l,...c(d),...u]),f.set(i,d),f}function W(e,t){return[...G(8+t.length),...K(e),...t]}var G=e=>[e>>>24,e>>>16&255,e>>>8&255,e&255],K=e=>[...e].map(e=>e.charCodeAt(0));async function q(t,n,r){let i=new Blob([U(t,n,r)]),a=await createImageBitmap(i).catch(()=>{throw new e(`A picture within the blob is damaged, or the browser cannot read it.`)});if(a.width!==n||a.height!==r)throw new e(`A picture within the blob does not fit its place.`);return a}Array.from({length:9},(e,t)=>.4-t/10);function ue(e){return[Math.ceil(e.height/8),Math.ceil(e.width/8)]}var de=8,J=8;function fe(t,n,r){let i=t[0]??0,a=1+8*i;if(!i||t.length<=a)throw new e(`The blob ends within its patches.`);let o=new DataView(t.buffer,t.byteOffset,t.byteLength),s={width:0,height:0},c=Array.from({length:i},(t,i)=>{let[a,c,l,u]=[1,3,5,7].map(e=>de*o.getUint16(e+8*i)),d={left:a,top:c,right:a+l,bottom:c+u};if(!l||!u||d.right>n||d.bottom>r)throw new e(`A patch does not lie within its picture.`);let f={place:d,top:s.height};return s.width=Math.max(s.width,l),s.height+=u,f});if(s.width*s.height>n*r)throw new e(`The blob's patches are larger than its picture.`);return{patches:c,atlas:t.subarray(a),...s}}function pe(e,t,n,r,i,a){let o=Y(n.left,n.right,r,J/a),s=Y(n.top,n.bottom,i,J/a),c=0;for(let n of s)for(let r of o){let i=n*r;for(let n=c+3;c<n;c++)e[c]=e[c]+i*(t[c]-e[c]);c++}}function Y(e,t,n,r){return Array.from({length:t-e},(i,a)=>Math.min(1,e>0?(a+.5)/r:1,t<n?(t-e-a-.5)/r:1))}var me=`sha384-LB1h/BoBt6IpgdOfpeyciLQs37c9bLNSsIi2n9Pg4K2nwrUaFIJGeVRY6ax8rtLB`,he=new URL(`prior-MRzh6WNG.bin`,import.meta.url).href;async function ge(e,t){let{header:n,chunks:r}=l(e),i={width:n.width,height:n.height},a=_e(i,t),o=r.has(`I`)?1:_.find(e=>i.width>=e*a.width),s=r.get(`I`),c=s?await Se(q(s,i.width,i.height)):await ye(n,r,o),u=r.get(`R`);u&&await be(c,u,n,o);let d=Z(a.width,a.height),{width:f,height:p}=i;d.drawImage(c.canvas,0,0,f/o,p/o,0,0,...X(a));let m=r.get(`A`);return m&&await xe(d,await q(m,i.width,i.height)),d.canvas.transferToImageBitmap()}var X=({width:e,height:t})=>[e,t];function _e(e,t=e.width){return t>=e.width?e:(t=Math.max(1,Math.floor(t)),{width:t,height:Math.max(1,ve(e.height*t/e.width))})}function ve(e){let t=Math.round(e);return e%1==.5&&t%2?t-1:t}async function ye(e,t,n){z();let r=await Ce(),i=await r.run(()=>({task:{kind:`latents`,header:e,chunks:t}})),{rows:a,columns:o}=i,s=8/n,c=Z(o*s,a*s);return await ce(c,i,n,r.equipment.weights)||await Promise.all(M(i,n,r.size).map(async e=>{let t=await r.run(()=>{let t=P(i,e,n);return{task:{kind:`tile`,tile:t,rows:a,columns:o,scale:n},transfer:[t.inputs.buffer]}}),{left:l,top:u,right:d}=e;c.putImageData(new ImageData(t,(d-l)*s),l*s,u*s)})),c}async function be(e,t,n,r){let[i,a]=ue(n),{patches:o,atlas:s,width:c,height:l}=fe(t,8*a,8*i),u=await q(s,c,l);for(let{place:t,top:n}of o){let i={width:t.right-t.left,height:t.bottom-t.top},[a,o]=[t.left/r,t.right/r],[s,c]=[t.top/r,t.bottom/r],l=Z(o-a,c-s);l.drawImage(u,0,n,...X(i),0,0,o-a,c-s);let d=e.getImageData(a,s,o-a,c-s);pe(d.data,l.getImageData(0,0,o-a,c-s).data,{left:a,top:s,right:o,bottom:c},e.canvas.width,e.canvas.height,r),e.putImageData(d,a,s)}u.close()}function xe(e,t){let{width:n,height:r}=e.canvas,i=Z(n,r);i.drawImage(t,0,0,n,r),t.close();let a=i.getImageData(0,0,n,r).data,o=e.getImageData(0,0,n,r);for(let e=0;e<a.length;e+=4)o.data[e+3]=a[e];e.putImageData(o,0,0)}async function Se(e){let t=await e,n=Z(t.width,t.height);return n.drawImage(t,0,0),t.close(),n}function Z(e,t){let n=new OffscreenCanvas(e,t).getContext(`2d`,{willReadFrequently:!0});if(!n)throw Error(`The browser gives no canvas of that size.`);return n.imageSmoothingQuality=`high`,n}var Q;async function Ce(){let e=Q;return await e?.then(({broken:e})=>e,()=>!0)&&Q===e&&(Q=void 0),Q??=we()}async function we(){let[e,t,n]=await Promise.all([$(g,h).then(e=>WebAssembly.compile(e)),$(m,p),$(he,me)]);return new ne({kernels:e,weights:t,prior:n})}async function $(e,t){let n=await fetch(new URL(e,import.meta.url),{integrity:t});if(!n.ok)throw Error(`${e}: ${n.status}`);return n.arrayBuffer()}export{e as BlobError,ge as decode};