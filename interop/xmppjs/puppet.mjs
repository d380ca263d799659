// A puppet of @xmpp/client: takes orders as lines of JSON, answers with lines of JSON.
// The orders are described in puppet_test.go. One process holds several clients.
// The server's certificate is trusted by NODE_EXTRA_CA_CERTS.

import { randomUUID } from "node:crypto";
import { createInterface } from "node:readline";
import { client, jid, xml } from "@xmpp/client";

const NS = {
  streams: "http://etherx.jabber.org/streams",
  sasl2: "urn:xmpp:sasl:2",
  register: "jabber:iq:register",
  roster: "jabber:iq:roster",
  rosterver: "urn:xmpp:features:rosterver",
  blocking: "urn:xmpp:blocking",
  delay: "urn:xmpp:delay",
  carbons: "urn:xmpp:carbons:2",
  forward: "urn:xmpp:forward:0",
  csi: "urn:xmpp:csi:0",
  mam: "urn:xmpp:mam:2",
  rsm: "http://jabber.org/protocol/rsm",
  data: "jabber:x:data",
  stanzas: "urn:ietf:params:xml:ns:xmpp-stanzas",
  info: "http://jabber.org/protocol/disco#info",
  version: "jabber:iq:version",
  time: "urn:xmpp:time",
  ping: "urn:xmpp:ping",
};

const say = (value) => process.stdout.write(JSON.stringify(value) + "\n");

function wire(error) {
  return { condition: error.condition ?? error.name, type: error.type ?? "", text: error.text ?? error.message };
}

const items = (query) =>
  query.getChildren("item").map((i) => ({
    jid: i.attrs.jid,
    name: i.attrs.name ?? "",
    subscription: i.attrs.subscription ?? "none",
    ask: i.attrs.ask ?? "",
    groups: i.getChildren("group").map((g) => g.text()).sort(),
  }));

const jids = (list) => list.getChildren("item").map((i) => i.attrs.jid).sort();

// Takes the log-in by XEP-0388 out of what a server offers.
function classic(element) {
  if (!element.is("features", NS.streams)) return;
  element.children = element.children.filter((child) => !child.is?.("authentication", NS.sasl2));
}

class Client {
  constructor(name, order) {
    this.name = name;
    this.offered = [];
    this.mechanism = "";
    this.versioned = false;
    this.csi = false;
    this.page = []; // of the archive
    const address = jid(order.jid);
    const { local: username, resource } = address;
    const { password } = order;
    const agent = xml("user-agent", { id: randomUUID() }, xml("software", {}, "puppet"));
    this.xmpp = client({
      service: `xmpp://${order.host}:${order.port}`,
      domain: address.domain,
      resource,
      timeout: order.wait * 1000,
      username,
      credentials: async (authenticate, mechanisms, fast, entity) => {
        if (order.register) {
          order.register = false;
          const query = xml("query", { xmlns: NS.register }, xml("username", {}, username), xml("password", {}, password));
          await entity.iqCaller.request(xml("iq", { type: "set" }, query), order.wait * 1000);
        }
        await authenticate({ username, password, token: this.token ? await fast?.fetch() : null }, mechanisms[0], agent);
      },
    });
    this.xmpp.reconnect.stop();
    // What goes wrong while a stream is opened is the rejection of start.
    this.xmpp.on("error", () => {});
    // With XEP-0386, which the library always uses where it can, what has waited for
    // the account is in the archive alone (§3.2). Only who comes back by a token needs it.
    if (!order.resume) this.xmpp.prependListener("element", classic);
    this.xmpp.on("element", (element) => this.element(element));
    this.xmpp.on("send", (element) => {
      if (element.is("auth") || element.is("authenticate", NS.sasl2)) this.mechanism = element.attrs.mechanism;
    });
    this.xmpp.streamManagement.on("resumed", () => this.resumed?.());
    this.xmpp.on("disconnect", () => say({ event: "disconnected", client: name }));
    this.answer();
  }

  element(element) {
    if (element.is("features", NS.streams)) {
      const list = element.getChild("mechanisms") ?? element.getChild("authentication", NS.sasl2);
      if (element.getChild("ver", NS.rosterver)) this.versioned = true;
      if (element.getChild("csi", NS.csi)) this.csi = true;
      if (list) this.offered = list.getChildren("mechanism").map((m) => m.text()).sort();
      return;
    }
    const { from, to, type, id } = element.attrs;
    if (element.is("message")) {
      if (this.copy(element)) return;
      const error = element.getChild("error");
      say({
        event: "message",
        client: this.name,
        from: from ?? "",
        to: to ?? "",
        // An absent type counts as normal (RFC 6121, section 5.2.2).
        type: type ?? "normal",
        id: id ?? "",
        body: element.getChildText("body") ?? "",
        condition: error?.children.find((c) => c.attrs?.xmlns === NS.stanzas)?.name ?? "",
        delayed: Boolean(element.getChild("delay", NS.delay)),
      });
    } else if (element.is("presence")) {
      const priority = Number(element.getChildText("priority") ?? 0);
      say({
        event: "presence",
        client: this.name,
        from: from ?? "",
        to: to ?? "",
        type: type ?? "",
        priority,
        show: element.getChildText("show") ?? "",
        status: element.getChildText("status") ?? "",
      });
    }
  }

  // What the account's own server wraps: a carbon copy, a message of its archive.
  copy(element) {
    if (element.attrs.from && element.attrs.from !== this.xmpp.jid?.bare().toString()) return false;
    const result = element.getChild("result", NS.mam);
    if (result) this.page.push(result.getChild("forwarded", NS.forward).getChild("message").getChildText("body") ?? "");
    for (const direction of ["sent", "received"]) {
      const message = element.getChild(direction, NS.carbons)?.getChild("forwarded", NS.forward)?.getChild("message");
      if (!message) continue;
      const { from, to } = message.attrs;
      say({ event: "carbon", client: this.name, type: direction, from, to, body: message.getChildText("body") ?? "" });
      return true;
    }
    return Boolean(result);
  }

  // The library answers pings itself; the rest a client built on it has to do.
  answer() {
    const { iqCallee } = this.xmpp;
    iqCallee.set(NS.roster, "query", ({ element }) => {
      for (const item of items(element)) {
        say({ event: "roster", client: this.name, ver: element.attrs.ver ?? "", item });
      }
      return {};
    });
    for (const what of ["block", "unblock"]) {
      iqCallee.set(NS.blocking, what, ({ element }) => {
        say({ event: what, client: this.name, jids: jids(element) });
        return {};
      });
    }
    iqCallee.get(NS.info, "query", () =>
      xml(
        "query",
        { xmlns: NS.info },
        xml("identity", { category: "client", type: "bot", name: "puppet" }),
        ...[NS.info, NS.ping, NS.time, NS.version].map((ns) => xml("feature", { var: ns })),
      ),
    );
    iqCallee.get(NS.version, "query", () =>
      xml("query", { xmlns: NS.version }, xml("name", {}, "@xmpp/client"), xml("version", {}, "0")),
    );
    iqCallee.get(NS.time, "time", () =>
      xml("time", { xmlns: NS.time }, xml("tzo", {}, "+00:00"), xml("utc", {}, new Date().toISOString())),
    );
  }

  async open() {
    try {
      await Promise.race([
        this.xmpp.start(),
        // The library tells of a refused log-in by this event only.
        new Promise((_, reject) => this.xmpp.on("error", reject)),
      ]);
    } catch (error) {
      this.xmpp.stop().catch(() => {});
      throw error;
    }
    const tls = this.xmpp.socket.socket.getProtocol();
    return { jid: this.xmpp.jid.toString(), offered: this.offered, mechanism: this.mechanism, tls };
  }

  async presence({ to, type, priority, show, status }) {
    const children = Object.entries({ show, status, priority })
      .filter(([, value]) => value)
      .map(([name, value]) => xml(name, {}, String(value)));
    await this.xmpp.send(xml("presence", { to, type }, ...children));
  }

  async message({ to, type, stanza, body }) {
    await this.xmpp.send(xml("message", { to, type, id: stanza }, xml("body", {}, body)));
  }

  async roster({ versioned, ver, wait }) {
    const query = xml("query", { xmlns: NS.roster, ver: versioned ? ver ?? "" : undefined });
    const answer = await this.xmpp.iqCaller.request(xml("iq", { type: "get" }, query), wait * 1000);
    const got = answer.getChild("query", NS.roster);
    return {
      versioned: this.versioned,
      unchanged: !got,
      ver: got?.attrs.ver ?? "",
      items: got ? items(got) : [],
    };
  }

  set(payload, { wait }) {
    return this.xmpp.iqCaller.set(payload, undefined, wait * 1000);
  }

  async contact(order) {
    const { to, type, name, groups } = order;
    const item =
      type === "remove"
        ? xml("item", { jid: to, subscription: "remove" })
        : xml("item", { jid: to, name }, ...groups.map((g) => xml("group", {}, g)));
    await this.set(xml("query", NS.roster, item), order);
  }

  async block(order) {
    await this.set(xml("block", NS.blocking, xml("item", { jid: order.to })), order);
  }

  async unblock(order) {
    await this.set(xml("unblock", NS.blocking, xml("item", { jid: order.to })), order);
  }

  async blocklist({ wait }) {
    return { jids: jids(await this.xmpp.iqCaller.get(xml("blocklist", NS.blocking), undefined, wait * 1000)) };
  }

  async carbons(order) {
    await this.set(xml("enable", NS.carbons), order);
  }

  async state({ type }) {
    if (!this.csi) throw new Error("client state indication is not offered");
    await this.xmpp.send(xml(type, { xmlns: NS.csi }));
  }

  async history(order) {
    const { to, ask, count } = order;
    const field = (name, value, type) => xml("field", { var: name, type }, xml("value", {}, value));
    const form = xml("x", { xmlns: NS.data, type: "submit" }, field("FORM_TYPE", NS.mam, "hidden"), field("with", to));
    const back = ask === "backwards";
    const bodies = [];
    for (let at = back ? "" : undefined; ; ) {
      this.page = [];
      const edge = at === undefined ? [] : [xml(back ? "before" : "after", {}, at)];
      const set = xml("set", { xmlns: NS.rsm }, xml("max", {}, String(count)), ...edge);
      const query = xml("iq", { type: "set" }, xml("query", { xmlns: NS.mam }, form, set));
      const fin = (await this.xmpp.iqCaller.request(query, order.wait * 1000)).getChild("fin", NS.mam);
      bodies.push(...(back ? this.page.reverse() : this.page));
      const of = fin.getChild("set", NS.rsm);
      at = back ? of.getChildText("first") : of.getChildText("last");
      if (fin.attrs.complete === "true" || !at) return { bodies };
    }
  }

  async cut() {
    this.xmpp.socket?.socket?.destroy();
  }

  async resumable() {
    return { resumable: Boolean(this.xmpp.streamManagement.id) };
  }

  async resume({ wait, ask }) {
    this.token = ask === "token"; // of XEP-0484
    const how = new Promise((resolve, reject) => {
      this.resumed = () => resolve(true);
      this.xmpp.once("online", () => resolve(false)); // a session anew
      setTimeout(() => reject(new Error("neither resumed nor online")), wait * 1000);
    });
    await this.xmpp.reconnect.reconnect();
    return { resumed: await how, jid: this.xmpp.jid.toString(), mechanism: this.mechanism };
  }

  async flood({ to, tag, first, count, cut }) {
    if (cut) {
      // Nobody waits for what may never be written.
      for (let i = first; i < first + count; i++) {
        const stanza = xml("message", { to, type: "chat", id: `${tag}-${i}` }, xml("body", {}, `${tag} ${i}`));
        this.xmpp.send(stanza).catch(() => {});
      }
      await new Promise((resolve) => setImmediate(resolve));
      return this.cut();
    }
    for (let i = first; i < first + count; i++) {
      const stanza = xml("message", { to, type: "chat", id: `${tag}-${i}` }, xml("body", {}, `${tag} ${i}`));
      await this.xmpp.send(stanza);
    }
  }

  async iq({ to, ask, wait }) {
    const { iqCaller } = this.xmpp;
    const get = (payload) => iqCaller.get(payload, to, wait * 1000);
    switch (ask) {
      case "ping":
        await get(xml("ping", NS.ping));
        return {};
      case "info": {
        const query = await get(xml("query", NS.info));
        return {
          identities: query.getChildren("identity").map((i) => `${i.attrs.category}/${i.attrs.type}`).sort(),
          features: query.getChildren("feature").map((f) => f.attrs.var).sort(),
        };
      }
      case "version": {
        const query = await get(xml("query", NS.version));
        return { name: query.getChildText("name"), version: query.getChildText("version") };
      }
      case "time": {
        const time = await get(xml("time", NS.time));
        return { utc: time.getChildText("utc") };
      }
    }
    throw new Error(`unknown question ${ask}`);
  }

  async close() {
    await this.xmpp.stop();
  }
}

const clients = new Map();

async function obey(order) {
  const { id, client: name, do: verb } = order;
  try {
    if (verb === "open") clients.set(name, new Client(name, order));
    const ok = await clients.get(name)[verb](order);
    say({ id, ok: ok ?? {} });
  } catch (error) {
    say({ id, error: wire(error) });
  }
}

say({ event: "ready", client: "", body: "@xmpp/client" });
createInterface({ input: process.stdin })
  .on("line", (line) => obey(JSON.parse(line)))
  .on("close", () => process.exit(0));
