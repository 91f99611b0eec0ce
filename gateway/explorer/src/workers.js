// Monaco's background workers: plain files beside this script, which the page's policy allows and a blob would not be.
// WORKERS is filled in by build.mjs: { editor, json, graphql } -> file name.
globalThis.MonacoEnvironment = {
  getWorker: (_id, label) => new Worker(new URL(WORKERS[label] ?? WORKERS.editor, import.meta.url)),
};
