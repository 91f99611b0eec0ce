// The explorer: GraphiQL on the endpoint this page was served from, with our examples open.
import './workers.js';
import './main.css';

import { explorerPlugin } from '@graphiql/plugin-explorer';
import { createGraphiQLFetcher } from '@graphiql/toolkit';
import { GraphiQL, HISTORY_PLUGIN } from 'graphiql';
import { createRoot } from 'react-dom/client';

import { Logo } from './logo.jsx';
import { editorTheme } from './theme.js';

const endpoint = new URL(location.pathname, location.origin);
const socket = new URL(endpoint);
socket.protocol = location.protocol === 'https:' ? 'wss:' : 'ws:';

/** The gateway answers in JSON. What stands before it may not: then the page shows what was said. */
async function ask(address, request) {
  const response = await fetch(address, request);
  if (response.headers.get('content-type')?.includes('json')) return response;
  const said = (await response.text()).slice(0, 500);
  return Response.json({ errors: [{ message: `${response.status} ${response.statusText}: ${said}` }] });
}

const fetcher = createGraphiQLFetcher({
  url: endpoint.href,
  fetch: ask,
  // Opened when a subscription is run, closed with it; the headers panel becomes its connection parameters.
  subscriptionUrl: socket.href,
  // Our answers come whole; without this the page would not ask for GraphQL's own media type.
  enableIncrementalDelivery: false,
});

createRoot(document.getElementById('switchboard')).render(
  <GraphiQL
    fetcher={fetcher}
    plugins={[HISTORY_PLUGIN, explorerPlugin()]}
    // EXAMPLES is filled in by build.mjs from examples/*.graphql.
    defaultTabs={EXAMPLES.map((query) => ({ query }))}
    editorTheme={editorTheme}
    // Headers hold credentials: they live as long as the page, and the setting to keep them is not offered.
    shouldPersistHeaders={false}
    showPersistHeadersSettings={false}
  >
    <GraphiQL.Logo>
      <Logo />
    </GraphiQL.Logo>
  </GraphiQL>,
);
