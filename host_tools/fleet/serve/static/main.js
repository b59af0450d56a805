// The page: asks for a token, listens for changes, and shows the view that the address names.
import { html, render, useCallback, useEffect, useMemo, useRef, useState } from "./preact-htm.js";
import { Address, Link, readAddress, written } from "./address.js";
import { ask, token } from "./ask.js";
import { AuditView } from "./audit.js";
import { DevicesView, DeviceView } from "./devices.js";
import { FleetView, GroupView } from "./fleet.js";
import { Live } from "./live.js";
import { Said, Title } from "./parts.js";
import { ReleasesView, ReleaseView } from "./releases.js";
import { RolloutsView, RolloutView } from "./rollouts.js";
import { Session } from "./session.js";

const VIEWS = { fleet: FleetView, group: GroupView, devices: DevicesView, device: DeviceView, rollouts: RolloutsView, rollout: RolloutView, releases: ReleasesView, release: ReleaseView, audit: AuditView };
const OF_ONE = ["group", "device", "rollout", "release"]; // what they show the address must name
const MENU = [["fleet", "Fleet", ["fleet", "group"]], ["devices", "Devices", ["devices", "device"]], ["rollouts", "Rollouts", ["rollouts", "rollout"]], ["releases", "Releases", ["releases", "release"]], ["audit", "Audit", ["audit"]]];

function Page() {
  const [me, setMe] = useState(null);
  const [said, setSaid] = useState("");
  const leave = useCallback((why = "") => { token.forget(); setMe(null); setSaid(why); }, []);
  useEffect(() => {
    if (token.read()) ask("/me").then(setMe, (problem) => (problem.status === 401 ? leave("The token is not good any more.") : setSaid(problem.message)));
  }, []);
  return me ? html`<${Inside} me=${me} leave=${leave} />` : html`<${SignIn} said=${said} enter=${setMe} />`;
}

function SignIn({ said, enter }) {
  const [problem, setProblem] = useState("");
  const field = useRef(null);
  useEffect(() => { document.title = "Sign in – Edgewright fleet"; field.current.focus(); }, []);
  const submit = async (event) => {
    event.preventDefault();
    token.keep(field.current.value.trim());
    try {
      enter(await ask("/me"));
    } catch (refused) {
      token.forget();
      setProblem(refused.status === 401 ? "This token is not good here." : refused.message);
      field.current.focus();
    }
  };
  return html`<main class="sign-in"><h1>Edgewright fleet</h1>
    <form onSubmit=${submit}>
      <label for="token">Token</label>
      <input id="token" ref=${field} type="password" required autocomplete="off" spellcheck="false" aria-describedby="token-note token-problem" />
      <p id="token-note" class="soft">It is kept in this tab until the tab is closed, and never stands in the address. An admin makes one: <code>edgewright fleet token create</code>.</p>
      <p id="token-problem" class="bad-text" role="alert">${problem || said}</p>
      <button type="submit" class="main">Sign in</button>
    </form></main>`;
}

function useAddress() {
  const [shown, setShown] = useState(readAddress());
  const moved = useRef(false);
  const go = useCallback((to, { keepFocus = false } = {}) => {
    history.pushState(null, "", written(to));
    moved.current = !keepFocus;
    setShown(readAddress());
  }, []);
  useEffect(() => {
    const back = () => { moved.current = true; setShown(readAddress()); };
    addEventListener("popstate", back);
    return () => removeEventListener("popstate", back);
  }, []);
  return { shown, go, moved };
}

function Inside({ me, leave }) {
  const { shown, go, moved } = useAddress();
  const [lostSince, setLostSince] = useState(null);
  const [trouble, setTrouble] = useState(null);
  const listeners = useRef(new Set());
  const refused = useCallback(() => leave("The token is not good any more."), []);

  useEffect(() => {
    const live = new Live({
      heard: (event) => listeners.current.forEach((each) => each(event)),
      changed: (state) => setLostSince(state.lostSince),
      refused,
    });
    return () => live.stop();
  }, []);

  const view = `${shown.view} ${shown.id ?? ""}`;
  useEffect(() => {
    setTrouble(null);
    if (!moved.current) return;
    moved.current = false;
    scrollTo(0, 0);
    (document.getElementById("title") ?? document.getElementById("content")).focus({ preventScroll: true });
  }, [view]);

  const session = useMemo(() => ({ me, refused, trouble: setTrouble, subscribe: (each) => { listeners.current.add(each); return () => listeners.current.delete(each); } }), [me]);
  const address = useMemo(() => ({ shown, go }), [shown]);
  const View = Object.hasOwn(VIEWS, shown.view) && (shown.id || !OF_ONE.includes(shown.view)) ? VIEWS[shown.view] : Unknown;
  return html`<${Session.Provider} value=${session}><${Address.Provider} value=${address}>
    <a class="skip" href="#content" onClick=${(event) => { event.preventDefault(); document.getElementById("content").focus(); }}>Skip to the content</a>
    <header>
      <nav aria-label="Views"><ul>${MENU.map(([name, text, views]) => html`<li key=${name}><${Link} to=${{ view: name }} aria-current=${views.includes(shown.view) ? (shown.view === name ? "page" : "true") : null}>${text}<//></li>`)}</ul></nav>
      <div class="who"><${LiveSign} lostSince=${lostSince} /><span class="me"><${Said} text=${me.name} /> <span class="soft">(${me.role})</span></span><button type="button" onClick=${() => leave()}>Sign out</button></div>
    </header>
    <main id="content" tabindex="-1">
      ${trouble && html`<div class="problem" role="alert"><p><${Said} text=${trouble.message} /></p></div>`}
      <${View} key=${view} />
    </main>
  <//><//>`;
}

function LiveSign({ lostSince }) {
  const since = lostSince && new Date(lostSince).toTimeString().slice(0, 5);
  return html`<span class="live ${lostSince ? "lost" : ""}" role="status"><span class="dot" aria-hidden="true"></span>${lostSince ? `Connection lost at ${since}; trying again` : "Live"}</span>`;
}

const Unknown = () => html`<${Title} text="There is no such view" /><p><${Link} to=${{ view: "fleet" }}>To the fleet<//></p>`;

render(html`<${Page} />`, document.getElementById("page"));
