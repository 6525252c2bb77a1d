// Bundles the front end into src/quantwidget/static: widget.js (ESM, for notebooks), page.js (for w.to_html) and
// widget.css. --watch rebuilds on change; --gallery builds and serves js/gallery instead. Fails over budget.
import { mkdir, readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import * as esbuild from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const target = join(here, "..", "src", "quantwidget", "static");
const flags = new Set(process.argv.slice(2));

// Largest size in bytes, minified and after gzip.
const BUDGETS = {
  "widget.js": { bytes: 122_000, gzip: 44_500 },
  "page.js": { bytes: 122_000, gzip: 44_500 },
  "widget.css": { bytes: 14_500, gzip: 12_000 },
};

const common = {
  bundle: true,
  minify: !flags.has("--watch"),
  target: "es2022",
  jsx: "automatic",
  jsxImportSource: "preact",
  legalComments: "none",
  logLevel: "warning",
};

const targets = [
  {
    ...common,
    entryPoints: [join(here, "src/index.tsx")],
    outfile: join(target, "widget.js"),
    format: "esm",
  },
  {
    ...common,
    entryPoints: [join(here, "src/page.tsx")],
    outfile: join(target, "page.js"),
    format: "iife",
  },
  { ...common, entryPoints: [join(here, "src/styles.css")], outfile: join(target, "widget.css") },
];

async function build() {
  await mkdir(target, { recursive: true });
  await Promise.all(targets.map((options) => esbuild.build(options)));
  const over = [];
  for (const [name, budget] of Object.entries(BUDGETS)) {
    const text = await readFile(join(target, name));
    const gzip = gzipSync(text).length;
    console.log(`${name}: ${text.length} bytes, ${gzip} after gzip`);
    if (text.length > budget.bytes || gzip > budget.gzip) over.push(name);
  }
  if (over.length > 0) throw new Error(`over budget: ${over.join(", ")}`);
}

async function gallery() {
  const context = await esbuild.context({
    ...common,
    minify: false,
    entryPoints: [join(here, "gallery/index.tsx"), join(here, "src/styles.css")],
    outdir: join(here, "gallery/dist"),
    format: "esm",
  });
  if (!flags.has("--serve")) {
    await context.rebuild();
    await context.dispose();
    return;
  }
  await context.watch();
  const { port } = await context.serve({ servedir: join(here, "gallery"), host: "127.0.0.1" });
  console.log(`gallery: http://127.0.0.1:${port}`);
}

if (flags.has("--gallery")) {
  await gallery();
} else if (flags.has("--watch")) {
  for (const options of targets) await (await esbuild.context(options)).watch();
  console.log("watching js/src");
} else {
  await build();
}
