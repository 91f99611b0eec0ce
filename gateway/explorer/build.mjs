// Bundles the page into the folder given (default: dist): index.html, assets/ under content-hashed names
// with .gz siblings, and the licences of everything inside. Run by hatch_build.py, or by `npm run build`.
import { mkdir, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { basename, extname, join } from 'node:path';
import { gzipSync } from 'node:zlib';

import { build } from 'esbuild';

const out = process.argv[2] ?? 'dist';
const assets = join(out, 'assets');
const LICENSES = 'THIRD_PARTY_LICENSES.txt';

const common = {
  bundle: true,
  minify: true,
  metafile: true,
  legalComments: 'none', // they are in LICENSES
  target: 'es2022',
  outdir: assets,
  entryNames: '[name]-[hash]',
  assetNames: '[name]-[hash]',
  logLevel: 'warning',
  define: { 'process.env.NODE_ENV': '"production"', 'process.env.USE_IMPORT': '"true"' },
};

/** The name of the file that came out of an entry point. */
function built(metafile, entry, extension = '.js') {
  const found = Object.entries(metafile.outputs).find(
    ([file, output]) => output.entryPoint?.endsWith(entry) && extname(file) === '.js',
  );
  if (!found) throw new Error(`esbuild made nothing of ${entry}`);
  return basename(extension === '.css' ? found[1].cssBundle : found[0]);
}

async function buildWorkers() {
  const entries = {
    editor: 'monaco-editor/esm/vs/editor/editor.worker.js',
    json: 'monaco-editor/esm/vs/language/json/json.worker.js',
    graphql: 'monaco-graphql/esm/graphql.worker.js',
  };
  const { metafile } = await build({
    ...common,
    entryPoints: Object.entries(entries).map(([name, path]) => ({ in: path, out: `${name}.worker` })),
    format: 'iife',
  });
  const names = Object.entries(entries).map(([name, path]) => [name, `./${built(metafile, path)}`]);
  return { metafile, workers: Object.fromEntries(names) };
}

async function readExamples() {
  const folder = 'src/examples';
  const files = (await readdir(folder)).filter((name) => name.endsWith('.graphql')).sort();
  return Promise.all(files.map((name) => readFile(join(folder, name), 'utf8')));
}

async function buildPage(workers) {
  const { metafile } = await build({
    ...common,
    entryPoints: ['src/main.jsx'],
    // One file: split, the editor's style sheet would be left behind with the chunks that need it.
    format: 'esm',
    jsx: 'automatic',
    loader: { '.svg': 'file', '.ttf': 'dataurl' },
    define: {
      ...common.define,
      WORKERS: JSON.stringify(workers),
      EXAMPLES: JSON.stringify(await readExamples()),
    },
  });
  return metafile;
}

async function writeHtml(metafile) {
  const icon = Object.keys(metafile.outputs).find((file) => extname(file) === '.svg');
  const links = {
    icon: basename(icon),
    license: LICENSES,
    style: built(metafile, 'src/main.jsx', '.css'),
    script: built(metafile, 'src/main.jsx'),
  };
  const template = await readFile('src/index.html', 'utf8');
  const html = template.replace(/{{(\w+)}}/g, (_, name) => `graphql/explorer/${links[name]}`);
  await writeFile(join(out, 'index.html'), html);
}

/** The text of each package that has a byte in the bundle, as its author ships it. */
async function writeLicenses(metafiles) {
  const inputs = metafiles.flatMap((metafile) => Object.values(metafile.outputs).flatMap((file) => Object.keys(file.inputs)));
  const folders = inputs.map((path) => path.match(/^.*node_modules\/(?:@[^/]+\/)?[^/]+/)?.[0]).filter(Boolean);
  const texts = await Promise.all([...new Set(folders)].sort().map(licenseOf));
  await writeFile(join(out, LICENSES), `${[...new Set(texts)].join(`\n\n${'-'.repeat(80)}\n\n`)}\n`);
}

async function licenseOf(folder) {
  const { name, version, license } = JSON.parse(await readFile(join(folder, 'package.json'), 'utf8'));
  const files = (await readdir(folder)).filter((file) => /^(licen[cs]e|notice|thirdpartynotices)/i.test(file));
  const texts = await Promise.all(files.sort().map((file) => readFile(join(folder, file), 'utf8')));
  return [`${name} ${version} (${license ?? 'see below'})`, ...texts.map((text) => text.trim())].join('\n\n');
}

async function compress() {
  for (const name of await readdir(assets)) {
    const content = await readFile(join(assets, name));
    if (content.length > 1024) await writeFile(join(assets, `${name}.gz`), gzipSync(content, { level: 9 }));
  }
}

await rm(out, { recursive: true, force: true });
await mkdir(assets, { recursive: true });
const { metafile: workerFiles, workers } = await buildWorkers();
const pageFiles = await buildPage(workers);
await writeHtml(pageFiles);
await writeLicenses([workerFiles, pageFiles]);
await compress();
