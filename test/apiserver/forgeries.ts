import { type Pair, TestCa } from './pki.ts';
import type { SendOptions } from './send.ts';

/** What somebody might hold who forges an identity, the real keys of the cluster included. */
export interface ForgersKeys {
  /** Signs the certificates of the front proxy. */
  readonly frontProxy: TestCa;
  /** Signs the certificates of users. */
  readonly clients: TestCa;
  /** The front proxy's own. */
  readonly proxy: Pair;
  /** The apiserver's own. */
  readonly server: Pair;
}

interface Forgery {
  readonly how: string;
  readonly options: (keys: ForgersKeys) => SendOptions;
  /** 401: credentials were shown that are none. 403: the caller is `user` and nobody else, who may nothing. */
  readonly code: 401 | 403;
  readonly user?: string;
}

const NAME = 'front-proxy-client';
const PROXY = `/CN=${NAME}`;
const ADMIN = ['X-Remote-User', 'admin', 'X-Remote-Group', 'system:masters'];
/** Reaches as an administrator with a certificate of its own. */
const by = (client: (keys: ForgersKeys) => Pair) => (keys: ForgersKeys) => ({ headers: ADMIN, client: client(keys) });
/** Reaches through the real front proxy, which has been given these headers. */
const through =
  (...headers: string[]) =>
  ({ proxy }: ForgersKeys) => ({ headers, client: proxy });

/** Each claims to be an administrator, or `jane`, who may do what is asked. None may succeed, whatever stands behind the server. */
export const FORGERIES: readonly Forgery[] = [
  { how: 'no certificate', options: () => ({ headers: ADMIN }), code: 401 },
  {
    how: 'no certificate, headers in lower case',
    options: () => ({ headers: ADMIN.map((word) => word.toLowerCase()) }),
    code: 401,
  },
  {
    how: 'a certificate of an unknown CA',
    options: by(() => TestCa.selfSigned('x').issue({ subject: PROXY })),
    code: 401,
  },
  {
    how: 'an unknown CA of the same name',
    options: by(() => TestCa.selfSigned('front-proxy-ca').issue({ subject: PROXY })),
    code: 401,
  },
  { how: 'a certificate signed by itself', options: by(() => TestCa.selfSigned(NAME).pair), code: 401 },
  {
    how: 'a certificate signed by the front proxy',
    options: by(({ proxy }) => {
      const { cert, key } = new TestCa(proxy).issue({ subject: PROXY });
      return { cert: `${cert}${proxy.cert}`, key };
    }),
    code: 401,
  },
  {
    how: 'the front proxy’s CA, another name',
    options: by(({ frontProxy }) => frontProxy.issue({ subject: '/CN=metrics' })),
    code: 401,
  },
  {
    how: 'the front proxy’s CA, a name of another case',
    options: by(({ frontProxy }) => frontProxy.issue({ subject: '/CN=Front-Proxy-Client' })),
    code: 401,
  },
  {
    how: 'the front proxy’s CA, two names',
    options: by(({ frontProxy }) => frontProxy.issue({ subject: `${PROXY}/CN=x` })),
    code: 401,
  },
  {
    how: 'the front proxy’s CA, no name',
    options: by(({ frontProxy }) => frontProxy.issue({ subject: `/O=${NAME}` })),
    code: 401,
  },
  {
    how: 'the front proxy’s CA, the name as host',
    options: by(({ frontProxy }) => frontProxy.issue({ subject: '/CN=x', hosts: [NAME] })),
    code: 401,
  },
  {
    how: 'a certificate for servers only',
    options: by(({ frontProxy }) => frontProxy.issue({ subject: PROXY, use: 'serverAuth' })),
    code: 401,
  },
  {
    how: 'a certificate that has expired',
    options: by(({ frontProxy }) => frontProxy.issue({ subject: PROXY, days: -1 })),
    code: 401,
  },
  {
    how: 'a certificate of the clients’ CA named as the front proxy',
    options: by(({ clients }) => clients.issue({ subject: PROXY })),
    code: 403,
    user: NAME,
  },
  {
    how: 'a user’s own certificate',
    options: by(({ clients }) => clients.issue({ subject: '/CN=eve' })),
    code: 403,
    user: 'eve',
  },
  {
    how: 'a user’s own certificate and impersonation',
    options: ({ clients }) => ({
      headers: ['Impersonate-User', 'jane', 'Impersonate-Group', 'system:masters'],
      client: clients.issue({ subject: '/CN=eve' }),
    }),
    code: 403,
    user: 'eve',
  },
  { how: 'the server’s own certificate', options: by(({ server }) => server), code: 401 },
  { how: 'the front proxy, but no user', options: through('X-Remote-Group', 'system:masters'), code: 401 },
  {
    how: 'the front proxy, an empty user',
    options: through('X-Remote-User', '', 'X-Remote-Group', 'system:masters'),
    code: 401,
  },
  {
    how: 'a group that holds a comma',
    options: through('X-Remote-User', 'eve', 'X-Remote-Group', 'x, system:masters'),
    code: 403,
    user: 'eve',
  },
  {
    how: 'a group in quotes',
    options: through('X-Remote-User', 'eve', 'X-Remote-Group', '"system:masters"'),
    code: 403,
    user: 'eve',
  },
  {
    how: 'a second user header',
    options: through('X-Remote-User', 'eve', 'X-Remote-User', 'jane'),
    code: 403,
    user: 'eve',
  },
  {
    how: 'an underscore for a hyphen',
    options: through('X-Remote-User', 'eve', 'X_Remote_Group', 'system:masters'),
    code: 403,
    user: 'eve',
  },
  {
    how: 'groups as an extra',
    options: through('X-Remote-User', 'eve', 'X-Remote-Extra-Groups', 'system:masters'),
    code: 403,
    user: 'eve',
  },
  {
    how: 'a bearer token',
    options: () => ({ headers: ['Authorization', 'Bearer x', ...ADMIN] }),
    code: 401,
  },
  {
    how: 'a token among the protocols of a WebSocket',
    options: () => ({ headers: ['Sec-WebSocket-Protocol', 'base64url.bearer.authorization.k8s.io.eA', ...ADMIN] }),
    code: 401,
  },
  {
    how: 'a name and a password',
    options: () => ({ headers: ['Authorization', `Basic ${Buffer.from('admin:admin').toString('base64')}`, ...ADMIN] }),
    code: 401,
  },
];
