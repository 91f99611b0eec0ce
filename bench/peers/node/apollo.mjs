// Apollo Server 5, standalone, with RESTDataSource, and DataLoader for relations.
import { RESTDataSource } from '@apollo/datasource-rest';
import { ApolloServer } from '@apollo/server';
import { startStandaloneServer } from '@apollo/server/standalone';
import DataLoader from 'dataloader';
import { byId, host, port, schema, upstream } from './upstream.mjs';

class Api extends RESTDataSource {
  baseURL = upstream;
  user = new DataLoader((ids) => Promise.all(ids.map((id) => this.get(`users/${id}`))));
  customer = new DataLoader((ids) =>
    Promise.all(ids.map(async (id) => (await this.get(`customers/${id}`)).customer)));
  agent = new DataLoader(async (ids) => {
    const found = byId((await this.get('agents')).agents);
    return ids.map((id) => found.get(id));
  });
}

const resolvers = {
  Query: {
    posts: (_, __, { api }) => api.get('posts'),
    customers: (_, { page }, { api }) => api.get('customers', { params: { page: String(page) } }),
    conversations: (_, { page }, { api }) => api.get('conversations', { params: { page: String(page) } }),
  },
  Post: { user: (post, _, { api }) => api.user.load(post.userId) },
  Conversation: {
    customer: (conversation, _, { api }) => api.customer.load(conversation.customerId),
    agent: (conversation, _, { api }) => api.agent.load(conversation.agentId),
  },
};

const server = new ApolloServer({ typeDefs: schema, resolvers });
await startStandaloneServer(server, {
  listen: { port: Number(port), host },
  context: async () => ({ api: new Api({ cache: server.cache }) }),
});
