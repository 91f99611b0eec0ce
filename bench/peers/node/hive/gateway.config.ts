// Hive Gateway 2 with JIT, over what Mesh has composed.
import { defineConfig } from '@graphql-hive/gateway';

const EVERYTHING = '{ agents { id firstName lastName email role } }';

export const gatewayConfig = defineConfig({
  jit: true,
  logging: 'error' as any,
  graphiql: false,
  landingPage: false,
  additionalResolvers: {
    Conversation: {
      agent: {
        selectionSet: '{ agentId }',
        // One call an operation, kept with its context: @resolveTo would ask for each conversation.
        resolve: (root: any, _: any, context: any, info: any) => {
          context.agents ||= context.api.Query.agents({ root, context, info, selectionSet: EVERYTHING }).then(
            (said: any) => new Map(said.agents.map((agent: any) => [agent.id, agent])),
          );
          return context.agents.then((agents: any) => agents.get(root.agentId));
        },
      },
    },
  } as any,
});
