//! MariaDB, called by its own client. The server speaks first.

use std::time::Duration;

use crate::{Process, eventually, pods::Pod};

pub struct MariaDb {
    _process: Process,
    marker: String,
}

const ROWS: u32 = 60_000;

impl MariaDb {
    pub const PROGRAMS: &[&str] = &["mariadbd", "mariadb", "mariadb-install-db"];
    pub const PORT: u16 = 3306;

    pub async fn serve(pod: &Pod, marker: &str) -> Self {
        let data = format!("--datadir={}", pod.folder().join("data").display());
        let small =
            ["--innodb-buffer-pool-size=16M", "--innodb-log-file-size=8M", "--innodb-flush-log-at-trx-commit=0"];
        let make = ["mariadb-install-db", "--no-defaults", "--auth-root-authentication-method=normal"];
        let make = [&make[..], &["--skip-test-db", &data], &small].concat();
        pod.run_within(Duration::from_secs(90), &make).await.expect_ok();
        let users =
            pod.file("users.sql", "create database shop;\ngrant all on shop.* to app@'%' identified by 'secret';\n");
        let socket = format!("--socket={}", pod.folder().join("socket").display());
        let init = format!("--init-file={users}");
        // Both families; names of callers are not asked for.
        let open = ["--bind-address=*", "--skip-name-resolve", "--port=3306", &socket, &init];
        let process = pod.start(&[&["mariadbd", "--no-defaults", &data][..], &open, &small].concat());
        let ask = ["--user=app", "--password=secret", "--execute", "select 1", "shop"];
        eventually("the database is up", async || {
            let answer = pod.run(&[&["mariadb", "--no-defaults", &socket][..], &ask].concat()).await;
            if answer.code == 0 { Ok(()) } else { Err(answer.stderr) }
        })
        .await;
        Self { _process: process, marker: marker.to_owned() }
    }

    pub async fn talk(&self, client: &Pod, host: &str) {
        let marker = &self.marker;
        assert_eq!(sql(client, host, &format!("select '{marker}'")).await, *marker);
        let wrong = client.run(&["mariadb", "--no-defaults", "--host", host, "--user=app", "--password=guess"]).await;
        assert!(wrong.stderr.contains("ERROR 1045"), "the server's own word: {wrong:?}");
    }

    /// A query during which nothing is sent.
    pub async fn linger(&self, client: &Pod, host: &str) {
        assert_eq!(sql(client, host, "select sleep(3)").await, "0");
    }

    /// A few MiB to the server and back.
    pub async fn bulk(&self, client: &Pod, host: &str) {
        let script = format!(
            "set -e
             for row in $(seq {ROWS}); do echo \"$row\t{marker}\"; done > sent
             sql='mariadb --no-defaults --skip-ssl --host {host} --user=app --password=secret --local-infile --skip-column-names shop'
             $sql --execute 'create table bulk (id int primary key, word text)'
             $sql --execute \"load data local infile 'sent' into table bulk\"
             $sql --quick --execute 'select * from bulk order by id' > got
             $sql --execute 'drop table bulk'
             cmp sent got",
            marker = self.marker,
        );
        client.run(&["sh", "-c", &script]).await.expect_ok();
    }
}

async fn sql(client: &Pod, host: &str, statement: &str) -> String {
    // Newer clients insist on TLS of the database's own, which would hide from the test whether the mesh encrypts.
    let words = ["mariadb", "--no-defaults", "--skip-ssl", "--host", host, "--user=app", "--password=secret"];
    let output = client.run(&[&words[..], &["--skip-column-names", "--execute", statement, "shop"]].concat()).await;
    output.expect_ok().trim_end().to_owned()
}
