// Mercurius 16 on Fastify 5, with JIT from the first request and its own loaders.
import Fastify from 'fastify';
import mercurius from 'mercurius';
import { byId, host, pooled, port, schema } from './upstream.mjs';

const get = pooled();
const resolvers = {
  Query: {
    posts: () => get('/posts'),
    customers: (_, { page }) => get(`/customers?page=${page}`),
    conversations: (_, { page }) => get(`/conversations?page=${page}`),
  },
};

// Its loaders are handed every object: asking once a key is left to us.
async function once(keys, load) {
  const asked = new Map();
  for (const key of keys) if (!asked.has(key)) asked.set(key, load(key));
  return Promise.all(keys.map((key) => asked.get(key)));
}

const loaders = {
  Post: { user: (posts) => once(posts.map(({ obj }) => obj.userId), (id) => get(`/users/${id}`)) },
  Conversation: {
    customer: (rows) =>
      once(rows.map(({ obj }) => obj.customerId), async (id) => (await get(`/customers/${id}`)).customer),
    async agent(rows) {
      const found = byId((await get('/agents')).agents);
      return rows.map(({ obj }) => found.get(obj.agentId));
    },
  },
};

const app = Fastify({ logger: false });
app.register(mercurius, { schema, resolvers, loaders, jit: 1, graphiql: false });
await app.listen({ port: Number(port), host });
