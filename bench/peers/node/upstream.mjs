// Upstream: how Yoga and Mercurius ask it, with undici's pool; and what every peer here shares.
import { readFileSync } from 'node:fs';
import { Pool } from 'undici';

export const [port, upstream] = process.argv.slice(2);
export const host = '127.0.0.1';
export const schema = readFileSync(new URL('schema.graphql', import.meta.url), 'utf8');

export function pooled() {
  const pool = new Pool(upstream, { connections: 256, pipelining: 1 });
  return async function get(path) {
    const answer = await pool.request({ path, method: 'GET' });
    if (answer.statusCode !== 200) {
      await answer.body.dump();
      throw new Error(`${path}: ${answer.statusCode}`);
    }
    return answer.body.json();
  };
}

export const byId = (rows) => new Map(rows.map((row) => [row.id, row]));
