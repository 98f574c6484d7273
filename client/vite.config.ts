import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import type { Plugin, UserConfig } from "vite";
import { defineConfig } from "vitest/config";

const OUT = "../django_latentimg/static/django_latentimg/client";
const SPACES = readdirSync("src")
  .sort()
  .flatMap((file) => /^decoder-(.+)\.bin$/.exec(file)?.[1] ?? []);
const decoderOf = (space: string) => [
  `src/decoder-${space}.bin`,
  `src/prior-${space}.bin`,
  "src/decoder/kernels.wasm",
];

const sha384 = (...files: string[]) => {
  const hash = createHash("sha384");
  for (const file of files) hash.update(readFileSync(file));
  return hash.digest("base64");
};

/** A module `name` whose default export is something that JSON can say. */
const data = (name: RegExp, content: (id: string) => unknown): Plugin => ({
  name: String(name),
  enforce: "pre",
  resolveId: (id) => (id.startsWith("virtual:") && name.test(id) ? id : null),
  load: (id) => (name.test(id) ? `export default ${JSON.stringify(content(id))}` : null),
});

const plugins = () => [
  // What `fetch` compares the file with.
  data(/\?integrity$/, (id) => `sha384-${sha384(id.split("?")[0]!)}`),
  data(/^virtual:digests$/, () =>
    Object.fromEntries(SPACES.map((space) => [space, sha384(...decoderOf(space)).slice(0, 12)])),
  ),
  data(/^virtual:page$/, () => readdirSync(OUT).find((file) => file.startsWith("page-"))!),
];

const common = {
  base: "./", // Django knows where static files are served, the build does not.
  plugins: plugins(),
  worker: { format: "es", plugins },
  // How long a test takes is the machine's affair.
  test: { globalSetup: "tests/setup.ts", testTimeout: 300_000 },
} satisfies UserConfig & { test: object };

const build = {
  target: "es2022",
  outDir: OUT,
  assetsDir: "",
  assetsInlineLimit: 0,
  modulePreload: false,
} as const;

/** Modules. Only what templates and other programs name keeps its name. */
const modules = defineConfig({
  ...common,
  build: {
    ...build,
    emptyOutDir: true,
    rolldownOptions: {
      input: {
        latentimg: "src/latentimg.ts",
        page: "src/page/page.ts",
        "service-worker": "src/page/service-worker.ts",
      },
      preserveEntrySignatures: "strict",
      output: {
        entryFileNames: ({ name }) => (name === "page" ? "[name]-[hash].js" : "[name].js"),
        chunkFileNames: ({ name }) => `${name === "webgpu" ? name : "part"}-[hash].js`,
      },
    },
  },
});

/** A classic script: modules run too late. It knows what the others are called. */
const loader = defineConfig({
  ...common,
  build: {
    ...build,
    emptyOutDir: false,
    rolldownOptions: {
      input: "src/page/loader.ts",
      output: { format: "iife", entryFileNames: "loader.js" },
    },
  },
});

export default defineConfig(({ mode }) => (mode === "loader" ? loader : modules));
