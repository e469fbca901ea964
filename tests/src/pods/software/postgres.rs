//! PostgreSQL, called by psql. Each connection begins with a question whether TLS is wanted.

use std::{fs, time::Duration};

use rustix::process::Signal;

use crate::{Process, eventually, pods::Pod};

pub struct Postgres {
    _process: Process,
    marker: String,
}

/// Rows of the bulk transfer, of about 60 bytes each.
const ROWS: u32 = 60_000;

impl Postgres {
    pub const PROGRAMS: &[&str] = &["initdb", "postgres", "psql", "pgbench"];
    pub const PORT: u16 = 5432;

    pub async fn serve(pod: &Pod, marker: &str) -> Self {
        let make = ["initdb", "--pgdata", "data", "--username", "app", "--auth", "trust", "--no-sync", "--locale", "C"];
        pod.run_within(Duration::from_secs(60), &make).await.expect_ok();
        let access = pod.folder().join("data/pg_hba.conf");
        fs::write(access, "local all all trust\nhost all all all trust\n").unwrap();
        let settings = ["fsync=off", "shared_buffers=16MB", "max_connections=20", "dynamic_shared_memory_type=mmap"];
        let settings = settings.iter().flat_map(|setting| ["-c", setting]);
        let folder = pod.folder().to_str().unwrap();
        let start = ["postgres", "-D", "data", "-k", folder, "-h", "*"].into_iter().chain(settings);
        let process = pod.start(&start.collect::<Vec<_>>());
        eventually("the database is up", async || {
            let ready = pod.run(&["pg_isready", "--host", folder]).await;
            if ready.code == 0 { Ok(()) } else { Err(ready.stdout) }
        })
        .await;
        Self { _process: process, marker: marker.to_owned() }
    }

    pub async fn talk(&self, client: &Pod, host: &str) {
        let marker = &self.marker;
        assert_eq!(psql(client, host, &format!("select '{marker}'")).await, *marker);
        let many = psql(client, host, "select generate_series(1, 100000)").await;
        assert_eq!((many.lines().count(), many.lines().last()), (100_000, Some("100000")));
    }

    /// Eight connections at a time, by PostgreSQL's own benchmark.
    pub async fn hurry(&self, client: &Pod, host: &str) {
        let at = ["--host", host, "--username", "app"];
        let words = |more: &[&'static str]| [&["pgbench"][..], more, &at, &["postgres"]].concat();
        client.run(&words(&["--initialize", "--quiet", "--scale", "1"])).await.expect_ok();
        let report = client.run(&words(&["--client", "8", "--transactions", "25", "--no-vacuum"])).await.expect_ok();
        assert!(report.contains("transactions actually processed: 200/200"), "{report}");
    }

    /// Queries during which nothing is sent: one that ends, and one that the client cancels.
    pub async fn linger(&self, client: &Pod, host: &str) {
        assert_eq!(psql(client, host, "select 'slept' || pg_sleep(3)").await, "slept");
        cancel(client, host).await;
    }

    /// A few MiB to the server and back, by COPY.
    pub async fn bulk(&self, client: &Pod, host: &str) {
        let script = format!(
            "set -e
             for row in $(seq {ROWS}); do echo \"$row\t{marker}\"; done > sent
             psql='psql --host {host} --username app --dbname postgres --no-psqlrc --quiet --set ON_ERROR_STOP=1'
             $psql --command 'create table bulk (id int, word text)'
             $psql --command '\\copy bulk from sent'
             $psql --command '\\copy (select * from bulk order by id) to got'
             $psql --command 'drop table bulk'
             cmp sent got",
            marker = self.marker,
        );
        client.run(&["sh", "-c", &script]).await.expect_ok();
    }
}

/// psql cancels over a connection of its own, which carries nothing but a key.
async fn cancel(client: &Pod, host: &str) {
    let sleep =
        ["psql", "--host", host, "--username", "app", "--dbname", "postgres", "--command", "select pg_sleep(60)"];
    let mut sleeping = client.start(&sleep);
    eventually("the query runs", async || {
        let running = "select count(*) from pg_stat_activity where state = 'active' and query = 'select pg_sleep(60)'";
        let count = psql(client, host, running).await;
        if count == "1" { Ok(()) } else { Err(count) }
    })
    .await;
    sleeping.signal(Signal::INT);
    sleeping.ended().await;
    let said = sleeping.stderr().join("\n");
    assert!(said.contains("canceling statement due to user request"), "{said}");
}

/// The rows of a statement's result, as text without any frame.
async fn psql(client: &Pod, host: &str, statement: &str) -> String {
    let words = ["psql", "--host", host, "--username", "app", "--dbname", "postgres", "--no-psqlrc", "--tuples-only"];
    let output = client.run(&[&words[..], &["--no-align", "--command", statement]].concat()).await;
    output.expect_ok().trim_end().to_owned()
}
