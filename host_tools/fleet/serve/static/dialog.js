// Asks once more before something is done, and says what will happen. Escape closes it; the focus goes back to where it was.
import { html, useEffect, useRef, useState } from "./preact-htm.js";
import { Said } from "./parts.js";
import { visible } from "./words.js";

// `field`: one text, which `act` gets; `fields`: several, which it gets by name. What `act` returns with a secret in it is shown, once.
export function Dialog({ title, consequences, verb, isGrave, field, fields, act, close }) {
  const box = useRef(null);
  const asked = fields ?? (field ? [{ name: "field", ...field }] : []);
  const [values, setValues] = useState(() => Object.fromEntries(asked.map((one) => [one.name, first(one)])));
  const [made, setMade] = useState(null);
  const [problem, setProblem] = useState(null);
  const [busy, setBusy] = useState(false);
  useEffect(() => {
    box.current.showModal();
    return () => box.current?.close();
  }, []);
  useEffect(() => { if (made) box.current.querySelector("[name=made]").focus(); }, [made]);

  const confirm = async (event) => {
    event.preventDefault();
    if (busy) return;
    setBusy(true);
    setProblem(null);
    try {
      const given = Object.fromEntries(Object.entries(values).map(([name, value]) => [name, typeof value === "string" ? value.trim() : value]));
      const told = await act(fields ? given : given.field ?? "");
      if (told?.secret) setMade(told);
      else box.current.close();
    } catch (refused) {
      setProblem(refused);
      setBusy(false);
    }
  };

  if (made) {
    return html`<dialog ref=${box} aria-labelledby="dialog-title" aria-describedby="dialog-text" onClose=${close}>
      <h2 id="dialog-title">${made.title}</h2>
      <p id="dialog-text" role="status">${made.note}</p>
      <label>Secret<input name="made" readonly value=${made.secret} onFocus=${(event) => event.currentTarget.select()} /></label>
      <div class="row end"><button type="button" class="main" onClick=${() => box.current.close()}>Done</button></div>
    </dialog>`;
  }
  return html`<dialog ref=${box} aria-labelledby="dialog-title" aria-describedby="dialog-text" onClose=${close}>
    <form onSubmit=${confirm}>
      <h2 id="dialog-title">${title}</h2>
      <ul id="dialog-text">${consequences.map((one) => html`<li key=${one}><${Said} text=${one} /></li>`)}</ul>
      ${asked.map((one) => html`<${Field} key=${one.name} one=${one} value=${values[one.name]} set=${(value) => setValues((before) => ({ ...before, [one.name]: value }))} />`)}
      ${problem && html`<div class="problem" role="alert"><p><${Said} text=${problem.message} /></p>${problem.hint && html`<p class="soft"><${Said} text=${problem.hint} /></p>`}</div>`}
      <div class="row end">
        <button type="button" onClick=${() => box.current.close()}>Cancel</button>
        <button type="submit" class=${isGrave ? "grave" : "main"} aria-disabled=${busy ? "true" : "false"}>${verb}</button>
      </div>
    </form>
  </dialog>`;
}

const first = ({ kind, value, options }) => value ?? (kind === "check" ? false : kind === "choice" ? (options[0] ?? "") : kind === "file" ? null : "");

function Field({ one, value, set }) {
  const { name, title, kind = "text", note } = one;
  const text = (event) => set(event.currentTarget.value);
  if (kind === "check") return html`<label class="check"><input type="checkbox" name=${name} checked=${value} onChange=${(event) => set(event.currentTarget.checked)} />${title}</label>`;
  const control = {
    text: () => html`<input name=${name} value=${value} maxlength=${one.longest ?? 500} onInput=${text} autocomplete="off" />`,
    number: () => html`<input type="number" name=${name} value=${value} min=${one.least} max=${one.most} required onInput=${text} />`,
    file: () => html`<input type="file" name=${name} accept=${one.accept} onChange=${(event) => set(event.currentTarget.files[0] ?? null)} />`,
    choice: () => html`<select name=${name} onChange=${text}>${one.options.map((option) => html`<option key=${option} value=${option} selected=${option === value}>${visible(option)}</option>`)}</select>`,
  }[kind];
  return html`<label>${title}${control()}${note && html`<span class="soft">${note}</span>`}</label>`;
}

// Buttons for what may be done now. One that the role does not allow says so and does nothing.
export function Actions({ actions, may, role }) {
  const [open, setOpen] = useState(null);
  if (!actions.length && !open) return null;  // what is being asked stays, whatever becomes of what it is about: the answer says so
  const refused = actions.filter((one) => !may(one.needs));
  return html`<div class="actions" role="group" aria-label="What can be done">
    ${actions.map((one) => {
      const allowed = may(one.needs);
      return html`<button key=${one.name} type="button" data-action=${one.name} class=${one.isGrave ? "grave" : one.isMain ? "main" : ""} aria-disabled=${allowed ? "false" : "true"} aria-describedby=${allowed ? null : "actions-refused"} onClick=${() => allowed && setOpen(one)}>${one.verb}</button>`;
    })}
    ${refused.length > 0 && html`<p id="actions-refused" class="soft">${refused.map((one) => `“${one.verb}” needs the role ${one.needs}`).join("; ")}; yours is ${role}.</p>`}
    ${open && html`<${Dialog} key=${open.name} ...${open.asked()} verb=${open.verb} isGrave=${open.isGrave} act=${open.act} close=${() => setOpen(null)} />`}
  </div>`;
}
