// An issuer of tokens, by oidc-provider, for the interop tests:
//
//	node issuer.mjs PORT
//
// Each start makes a key of its own. A token is given to whoever comes with the
// name of a person as its client and "secret" (client_credentials): for the
// resource that is asked for, whose last part is the audience and which may end in
// ?ttl=SECONDS; with the scope xmpp if that is asked for.
import { generateKeyPairSync } from "node:crypto";

import Provider from "oidc-provider";

const port = Number(process.argv[2]);

function key(type, options, alg) {
  const { privateKey } = generateKeyPairSync(type, options);
  const jwk = privateKey.export({ format: "jwk" });
  return { ...jwk, use: "sig", alg, kid: `${alg}-${process.pid}` };
}

const people = ["mercutio", "tybalt", "romeo"];

const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: people.map((name) => ({
    client_id: name,
    client_secret: "secret",
    grant_types: ["client_credentials"],
    redirect_uris: [],
    response_types: [],
  })),
  jwks: { keys: [key("rsa", { modulusLength: 2048 }, "RS256"), key("ec", { namedCurve: "P-256" }, "ES256")] },
  scopes: ["xmpp"],
  extraTokenClaims: (ctx, token) => ({ preferred_username: token.clientId, groups: token.clientId === "tybalt" ? ["it"] : [] }),
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo(ctx, resource) {
        const url = new URL(resource);
        return {
          scope: "xmpp",
          audience: url.pathname.slice(1),
          accessTokenFormat: "jwt",
          accessTokenTTL: Number(url.searchParams.get("ttl") ?? 60),
          jwt: { sign: { alg: url.searchParams.get("alg") ?? "RS256" } },
        };
      },
    },
  },
});

provider.listen(port, "127.0.0.1");
