"""Several models for several targets at once: here in processes, or on a Dask cluster; resumable; one table of results.

A job is one model with all its targets, which is one call of `host_tools.pipeline.convert`: the float model is read, run over the
calibration set and over the evaluation samples once, whatever the number of targets, and the report compares the targets with each
other. Splitting by target would do all that again for each.

Layout, in the order of the flow:
    jobs_file.py      JOBS.toml as data
    expansion.py      from that to jobs: patterns, paths, names
    job.py            `Job`, `JobResult`: the same for every executor
    job_document.py   both as JSON and back
    inputs.py         the digest of everything that a job's result depends on
    batch.py          `run_batch`: what is done already, run the rest, note each result as it comes
    executor.py       what an executor is, and which one a text means
    processes.py      processes of this machine
    dask_cluster.py   a Dask cluster: client side
    dask_worker.py    a Dask cluster: what runs on its workers
    supervisor.py     one job in a process of its own, and what became of it
    child.py          that process
    conversion.py     the job itself: `convert`, and its outcome as a result
    manifest.py       batch.json
    table.py          all results as one table: cells, CSV
    page.py           batch.html
    progress.py       how a batch reports how far it is
"""
