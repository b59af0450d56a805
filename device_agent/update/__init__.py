"""Updates of the models: what may run here is signed, tried beside the model that runs, and taken back when it fails.

Layout, in the order of an update:

- `state`, `state_file`: what must survive a power cut; one small file, replaced whole
- `occurrences`, `effects`, `machine`: the state machine without clock, network, disk or thread; its parts are `book` (what is
  durable), `transitions` (how that changes), `way_in` (up to an activation), `proving` (what each model runs and has shown) and
  `schedule` (when to ask again)
- `bootstrap`: what updates begin with, read before anything is asked for
- `probation`: what a new release must show before it is kept
- `trust`: signed metadata (TUF) and the signed desired state: what this device shall run;
  `distrust`: why not; `light`: what a check leaves out of memory
- `transfer`, `store`: ranged download into a store in which a file's name is its digest
- `trial`: load, self-test and shadow run in a child process under limits; `shadow`: frames on their way there
- `children`: starts those child processes and ends them; `jobs`: what they are told and answer; `child`: one of them
- `notices`, `report`: what is told of all that, as events and when somebody asks
- `outlook`: what `edgewright-agent check` and `diag` say of it
- `updated_model`: one model, between updates and whoever runs it
- `settings`, `limits`: what the configuration means for updates
- `updates`: carries out what the machine decides
- `in_the_loop`: the agent's only door to all of it, there also where updates are off
"""
