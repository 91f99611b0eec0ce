// Mesh: the upstream as a subgraph, for Hive Gateway.
import { defineConfig } from '@graphql-mesh/compose-cli';
import { loadJSONSchemaSubgraph } from '@omnigraph/json-schema';

const integer = { type: 'integer' };
const get = (field: string, path: string, answer: string, argTypeMap?: object) =>
  ({ type: 'Query', field, path, method: 'GET', argTypeMap, responseSchema: `./schemas.json#/definitions/${answer}` }) as any;

export const composeConfig = defineConfig({
  subgraphs: [
    {
      sourceHandler: loadJSONSchemaSubgraph('api', {
        endpoint: process.env.UPSTREAM,
        operations: [
          get('posts', '/posts', 'Posts'),
          get('user', '/users/{args.id}', 'User', { id: integer }),
          get('customers', '/customers?page={args.page}', 'CustomerPage', { page: integer }),
          get('customerDetail', '/customers/{args.id}', 'CustomerDetail', { id: integer }),
          get('conversations', '/conversations?page={args.page}', 'ConversationPage', { page: integer }),
          get('agents', '/agents', 'AgentList'),
        ],
      }),
    },
  ],
  additionalTypeDefs: /* GraphQL */ `
    extend type Post {
      user: User @resolveTo(
        sourceName: "api", sourceTypeName: "Query", sourceFieldName: "user"
        requiredSelectionSet: "{ userId }", sourceArgs: { id: "{root.userId}" }
      )
    }
    extend type Conversation {
      customer: Customer @resolveTo(
        sourceName: "api", sourceTypeName: "Query", sourceFieldName: "customerDetail"
        requiredSelectionSet: "{ customerId }", sourceArgs: { id: "{root.customerId}" }, result: "customer"
      )
      agent: Agent
    }
  `,
});
