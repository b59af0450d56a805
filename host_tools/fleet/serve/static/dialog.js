// Asks once more before something is done, and says what will happen. Escape closes it; the focus goes back to where it was.
import { html, useEffect, useRef, useState } from "./preact-htm.js";
import { Said } from "./parts.js";

export function Dialog({ title, consequences, verb, isGrave, field, act, close }) {
  const box = useRef(null);
  const [text, setText] = useState(field?.value ?? "");
  const [problem, setProblem] = useState(null);
  const [busy, setBusy] = useState(false);
  useEffect(() => {
    box.current.showModal();
    return () => box.current?.close();
  }, []);

  const confirm = async (event) => {
    event.preventDefault();
    if (busy) return;
    setBusy(true);
    setProblem(null);
    try {
      await act(text.trim());
      box.current.close();
    } catch (refused) {
      setProblem(refused);
      setBusy(false);
    }
  };

  return html`<dialog ref=${box} aria-labelledby="dialog-title" aria-describedby="dialog-text" onClose=${close}>
    <form onSubmit=${confirm}>
      <h2 id="dialog-title">${title}</h2>
      <ul id="dialog-text">${consequences.map((one) => html`<li key=${one}><${Said} text=${one} /></li>`)}</ul>
      ${field && html`<label>${field.title}<input name="field" value=${text} maxlength=${field.longest ?? 500} onInput=${(event) => setText(event.currentTarget.value)} autocomplete="off" />${field.note && html`<span class="soft">${field.note}</span>`}</label>`}
      ${problem && html`<div class="problem" role="alert"><p><${Said} text=${problem.message} /></p>${problem.hint && html`<p class="soft"><${Said} text=${problem.hint} /></p>`}</div>`}
      <div class="row end">
        <button type="button" onClick=${() => box.current.close()}>Cancel</button>
        <button type="submit" class=${isGrave ? "grave" : "main"} aria-disabled=${busy ? "true" : "false"}>${verb}</button>
      </div>
    </form>
  </dialog>`;
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
