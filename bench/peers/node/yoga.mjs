// GraphQL Yoga 5 with JIT; it keeps parsed and validated documents by itself.
import { createServer } from 'node:http';
import { useGraphQlJit } from '@envelop/graphql-jit';
import DataLoader from 'dataloader';
import { createSchema, createYoga } from 'graphql-yoga';
import { byId, host, pooled, port, schema } from './upstream.mjs';

const get = pooled();
const resolvers = {
  Query: {
    posts: () => get('/posts'),
    customers: (_, { page }) => get(`/customers?page=${page}`),
    conversations: (_, { page }) => get(`/conversations?page=${page}`),
  },
  Post: { user: (post, _, context) => context.user.load(post.userId) },
  Conversation: {
    customer: (conversation, _, context) => context.customer.load(conversation.customerId),
    agent: (conversation, _, context) => context.agent.load(conversation.agentId),
  },
};
const context = () => ({
  user: new DataLoader((ids) => Promise.all(ids.map((id) => get(`/users/${id}`)))),
  customer: new DataLoader((ids) =>
    Promise.all(ids.map(async (id) => (await get(`/customers/${id}`)).customer))),
  agent: new DataLoader(async (ids) => {
    const found = byId((await get('/agents')).agents);
    return ids.map((id) => found.get(id));
  }),
});

const yoga = createYoga({
  schema: createSchema({ typeDefs: schema, resolvers }),
  context,
  logging: false,
  graphiql: false,
  landingPage: false,
  plugins: [useGraphQlJit()],
});
createServer(yoga).listen(Number(port), host);
