// Bundles the front end into src/quantwidget/static: widget.js (ESM, for notebooks), kernel-panels.js (ESM, what a
// running kernel adds to it), page.js (for w.to_html) and widget.css. --watch rebuilds on change; --gallery builds and
// serves js/gallery instead. Fails over budget.
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import * as esbuild from "esbuild";
import { minify } from "rolldown/utils";

const here = dirname(fileURLToPath(import.meta.url));
const source = join(here, "src");
const target = join(here, "..", "src", "quantwidget", "static");
const flags = new Set(process.argv.slice(2));

// Largest size in bytes, minified and after gzip.
const BUDGETS = {
  "widget.js": { bytes: 100_000, gzip: 36_000 },
  "kernel-panels.js": { bytes: 51_000, gzip: 19_500 },
  "page.js": { bytes: 126_000, gzip: 47_000 },
  "widget.css": { bytes: 12_000, gzip: 4_000 },
};

/** Names the sources as they are now: two bundles go together when they are of the same sources. */
function fingerprint() {
  const hash = createHash("sha256");
  for (const name of readdirSync(source, { recursive: true }).map(String).sort())
    if (/\.(ts|tsx)$/.test(name)) hash.update(name).update(readFileSync(join(source, name)));
  return hash.digest("hex").slice(0, 8);
}

const build = JSON.stringify(fingerprint());

/**
 * Names of private members that stand for nothing else anywhere, in our sources and in the libraries' that are bundled:
 * minified, they become shorter.
 */
async function privateNames() {
  const { metafile } = await esbuild.build({
    ...common,
    entryPoints: ["index.tsx", "page.tsx", "kernel-panels.tsx"].map((name) => join(source, name)),
    outdir: target,
    metafile: true,
    write: false,
    plugins: [stylesAsText],
  });
  const text = Object.keys(metafile.inputs)
    .filter((path) => /\.(tsx?|m?js)$/.test(path))
    .map((path) => readFileSync(path, "utf-8").replace(/^\s*(\/\*[\s\S]*?\*\/|\/\/.*$)/gm, ""))
    .join("\n");
  const declared = String.raw`\bprivate (?:readonly |async |get )*`;
  const names = new Set(
    [...text.matchAll(RegExp(`${declared}(\\w+)`, "g"))].map(([, name]) => name),
  );
  return [...names].filter((name) => {
    const all = text.matchAll(RegExp(`(${declared}|\\bthis\\.)?\\b${name}\\b`, "g"));
    return [...all].every(([, before]) => before);
  });
}

const common = {
  bundle: true,
  minify: !flags.has("--watch"),
  target: "es2022",
  // Calls of h are shorter than those that tsconfig.json asks for.
  tsconfigRaw: {},
  jsxFactory: "h",
  jsxFragment: "Fragment",
  inject: [join(source, "jsx.ts")],
  define: { BUILD: build },
  legalComments: "none",
  logLevel: "warning",
};

/** The styles of kernel-panels.css are text in the scripts that need them. */
const stylesAsText = {
  name: "styles as text",
  setup: (plugin) =>
    plugin.onLoad({ filter: /kernel-panels\.css$/ }, async ({ path }) => {
      const text = await readFile(path, "utf-8");
      const { code } = await esbuild.transform(text, { loader: "css", minify: true });
      return { contents: code.trim(), loader: "text" };
    }),
};

const widget = {
  ...common,
  entryPoints: [join(source, "index.tsx")],
  outfile: join(target, "widget.js"),
  format: "esm",
};

const targets = [
  widget,
  {
    ...common,
    entryPoints: [join(source, "kernel-panels.tsx")],
    outfile: join(target, "kernel-panels.js"),
    format: "cjs",
    banner: { js: `export const build=${build};export function start(core){const module={};` },
    footer: { js: "return module.exports}" },
    plugins: [stylesAsText, { name: "core", setup: takeFromCore }],
  },
  {
    ...common,
    entryPoints: [join(source, "page.tsx")],
    outfile: join(target, "page.js"),
    format: "iife",
    plugins: [stylesAsText],
  },
  { ...common, entryPoints: [join(source, "styles.css")], outfile: join(target, "widget.css") },
];

/**
 * Of modules that widget.js holds, take what core.ts lists from the object `core`, where no second copy of them may be.
 * A name that core.ts does not list ends the build.
 */
function takeFromCore(plugin) {
  const listed = new Map();
  let held = new Set();
  const find = (path, importer) =>
    plugin.resolve(path, { resolveDir: importer, kind: "import-statement", pluginData: "found" });

  plugin.onStart(async () => {
    const { metafile } = await esbuild.build({ ...widget, metafile: true, write: false });
    held = new Set(Object.keys(metafile.inputs).map((path) => resolve(path)));
    const text = readFileSync(join(source, "core.ts"), "utf-8");
    for (const [, names, path] of text.matchAll(/^export \{([^}]+)\} from "([^"]+)";$/gm))
      listed.set((await find(path, source)).path, names);
  });
  plugin.onResolve({ filter: /./ }, async ({ path, resolveDir, kind, pluginData }) => {
    if (kind === "entry-point" || pluginData === "found") return undefined;
    const found = await find(path, resolveDir);
    return held.has(found.path) ? { path: found.path, namespace: "core" } : found;
  });
  plugin.onLoad({ filter: /./, namespace: "core" }, ({ path }) => ({
    contents: `export const {${listed.get(path) ?? ""}} = core;`,
  }));
}

/** Choose names once more, so that the text compresses better: some 3 % after gzip. */
async function shorten(path, module) {
  const { code, errors } = await minify(path, await readFile(path, "utf-8"), {
    module,
    compress: { target: "es2022" },
  });
  if (errors.length > 0) throw new Error(errors[0].message);
  await writeFile(path, code);
}

async function bundle() {
  await mkdir(target, { recursive: true });
  const mangleProps = RegExp(`^(${(await privateNames()).join("|")})$`);
  await Promise.all(targets.map((options) => esbuild.build({ ...options, mangleProps })));
  for (const { outfile, format } of targets) if (format) await shorten(outfile, format !== "iife");
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
    entryPoints: [join(here, "gallery/index.tsx"), join(source, "styles.css")],
    outdir: join(here, "gallery/dist"),
    format: "esm",
    plugins: [stylesAsText],
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
  await bundle();
}
