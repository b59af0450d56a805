// What every view has at hand: who asks, what changes, and answers that are asked for again when they have changed.
import { createContext, useCallback, useContext, useEffect, useRef, useState } from "./preact-htm.js";
import { ask } from "./ask.js";

export const Session = createContext(null);
const ROLES = ["viewer", "operator", "approver", "admin"];
const SETTLE_MS = 250; // several events of one change are one question
const REST_MS = 1_500; // and a busy fleet is not asked more often than so

export const may = (role, needed) => ROLES.indexOf(role) >= ROLES.indexOf(needed);

// Asks for paths, and again after events that concern them. What was there stays until the new is there.
export function useAnswers(paths, concerns) {
  const { subscribe, refused } = useContext(Session);
  const key = paths.join(" ");
  const [state, setState] = useState({ key: "", answers: null, problem: null });
  const asked = useRef({ concerns, at: 0, timer: 0, controller: null });
  asked.current.concerns = concerns;

  const load = useCallback(async () => {
    const mine = new AbortController();
    asked.current.controller?.abort();
    asked.current.controller = mine;
    asked.current.at = Date.now();
    try {
      const answers = await Promise.all(key.split(" ").map((path) => ask(path, { signal: mine.signal })));
      if (!mine.signal.aborted) setState({ key, answers, problem: null });
    } catch (problem) {
      if (mine.signal.aborted || problem.name === "AbortError") return;
      if (problem.status === 401) refused(problem);
      else setState((before) => ({ key, answers: before.key === key ? before.answers : null, problem }));
    }
  }, [key]);

  useEffect(() => {
    load();
    const heard = (event) => {
      const { concerns: wanted, timer, at } = asked.current;
      if (event.kind !== "reset" && !wanted(event)) return;
      if (timer) return;
      const wait = Math.max(SETTLE_MS, at + REST_MS - Date.now());
      asked.current.timer = setTimeout(() => { asked.current.timer = 0; load(); }, wait);
    };
    const leave = subscribe(heard);
    return () => {
      leave();
      clearTimeout(asked.current.timer);
      asked.current.timer = 0;
      asked.current.controller?.abort();
    };
  }, [load]);

  return state.key === key ? { ...state, load } : { answers: null, problem: null, load };
}

export const always = () => true;
export const never = () => false;
