// A certified authorization server (oidc-provider) and a small API behind it, for the acceptance tests.
//
//   node start.mjs '{"accessTtl": 3, "clients": [{"client_id": "…", …}]}'
//
// Listens on a free port of 127.0.0.1, prints `READY <issuer>`, ends with SIGTERM. Refresh tokens rotate, and one that
// comes back ends its grant; PKCE is required; everything lives in memory. Any name logs in on its own pages.
//
//   GET  /api/items?after=N     what changed after N, four a page (RFC 8288 links); needs the scope items:read
//   GET  /test/facts            what has happened: token calls, refreshes by account, items read, grants ended
//   POST /test/revoke?account=  end every grant of an account, as an administrator would
//   POST /test/add?count=       new items
import { createServer } from 'node:http';
import { once } from 'node:events';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const settings = { accessTtl: 3, codeTtl: 60, items: 10, modules: '.', ...JSON.parse(process.argv[2] ?? '{}') };
// The packages are installed outside the source tree; NODE_PATH does not reach ES modules.
const found = createRequire(`${settings.modules}/start.mjs`).resolve('oidc-provider');
const { default: Provider } = await import(pathToFileURL(found));

const server = createServer();
server.listen(0, '127.0.0.1');
await once(server, 'listening');
const issuer = `http://127.0.0.1:${server.address().port}`;

const PAGE = 4;
const items = Array.from({ length: settings.items }, (_, index) => ({ id: index + 1, changed: index + 1 }));
const facts = { tokenCalls: {}, refreshes: {}, read: [], ended: [] };
const grants = new Map();

const provider = new Provider(issuer, {
  clients: settings.clients,
  scopes: ['openid', 'offline_access', 'profile', 'items:read', 'items:write'],
  claims: { openid: ['sub'], profile: ['name', 'preferred_username'] },
  findAccount: (_ctx, id) => ({ accountId: id, claims: () => ({ sub: id, name: id, preferred_username: id }) }),
  pkce: { required: () => true },
  rotateRefreshToken: true,
  cookies: { keys: ['for tests alone'] },
  ttl: {
    AccessToken: settings.accessTtl, AuthorizationCode: settings.codeTtl, IdToken: 300,
    RefreshToken: 86400, Interaction: 600, Grant: 86400, Session: 86400,
  },
  features: { devInteractions: { enabled: true }, revocation: { enabled: true }, rpInitiatedLogout: { enabled: false } },
});

function count(kind, outcome) {
  facts.tokenCalls[kind] ??= {};
  facts.tokenCalls[kind][outcome] = (facts.tokenCalls[kind][outcome] ?? 0) + 1;
}

provider.on('grant.success', (ctx) => {
  const { entities, params } = ctx.oidc;
  const account = entities.Account.accountId;
  if (!grants.has(account)) grants.set(account, new Set());
  grants.get(account).add(entities.Grant.jti);
  count(params.grant_type, 'granted');
  if (params.grant_type === 'refresh_token') facts.refreshes[account] = (facts.refreshes[account] ?? 0) + 1;
});
provider.on('grant.error', (ctx, error) => count(ctx.oidc?.params?.grant_type ?? 'unknown', error.error));
provider.on('grant.revoked', (_ctx, id) => facts.ended.push(id));
provider.on('server_error', (_ctx, error) => console.error(error));

async function revoke(account) {
  for (const id of grants.get(account) ?? []) {
    for (const kind of ['RefreshToken', 'AccessToken']) await provider[kind].revokeByGrantId(id);
    await (await provider.Grant.find(id))?.destroy();
  }
  grants.delete(account);
}

function refuse(ctx, status, error, description) { // RFC 6750 section 3
  ctx.status = status;
  ctx.set('WWW-Authenticate', `Bearer realm="items"${error ? `, error="${error}", error_description="${description}"` : ''}`);
  ctx.body = { message: description ?? 'authentication required' };
}

async function api(ctx) {
  const [, token] = /^Bearer (\S+)$/i.exec(ctx.get('authorization')) ?? [];
  if (!token) return refuse(ctx, 401);
  const access = await provider.AccessToken.find(token);
  if (!access?.isValid) return refuse(ctx, 401, 'invalid_token', 'expired, revoked or unknown');
  if (!access.scope?.split(' ').includes('items:read')) return refuse(ctx, 403, 'insufficient_scope', 'items:read needed');
  const after = Number(ctx.query.after ?? 0);
  const fresh = items.filter((item) => item.changed > after);
  facts.read.push({ account: access.accountId, after });
  if (fresh.length > PAGE) ctx.set('Link', `<${issuer}/api/items?after=${fresh[PAGE - 1].changed}>; rel="next"`);
  ctx.body = { items: fresh.slice(0, PAGE) };
}

provider.use(async (ctx, next) => {
  if (ctx.path === '/api/items') await api(ctx);
  else if (ctx.path === '/test/facts') ctx.body = { ...facts, items: items.length };
  else if (ctx.path === '/test/revoke') { await revoke(ctx.query.account); ctx.body = {}; }
  else if (ctx.path === '/test/add') {
    for (let left = Number(ctx.query.count); left > 0; left -= 1) items.push({ id: items.length + 1, changed: items.length + 1 });
    ctx.body = {};
  } else await next();
});

server.on('request', provider.callback());
process.on('SIGTERM', () => { server.closeAllConnections(); server.close(() => process.exit(0)); });
console.log(`READY ${issuer}`);
