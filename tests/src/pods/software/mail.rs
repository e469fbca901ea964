//! An SMTP server, called by Python's smtplib. The server speaks first.

use serde_json::Value;

use crate::{Process, pods::Pod};

pub struct Mail {
    _process: Process,
    marker: String,
}

impl Mail {
    pub const MODULE: &str = "aiosmtpd";
    pub const PORT: u16 = 25;

    pub async fn serve(pod: &Pod, marker: &str) -> Self {
        let process = pod.start(&pod.python(Self::MODULE, "pods/smtp_server.py", &[]));
        pod.listens(Self::PORT).await;
        Self { _process: process, marker: marker.to_owned() }
    }

    /// A mail, and a large one over the same connection.
    pub async fn talk(&self, client: &Pod, host: &str) {
        let words = client.python(Self::MODULE, "pods/smtp_client.py", &[host, &self.marker]);
        let result: Value = serde_json::from_str(&client.run(&words).await.expect_ok()).unwrap();
        assert_eq!(result["greeting"], "220");
        for mail in ["small", "large"] {
            assert_eq!(result[mail]["code"], 250, "{result}");
            assert!(result[mail]["answer"].as_str().unwrap().contains(&self.marker), "{result}");
            assert_eq!(result[mail]["sum"], result[mail]["expected"], "{mail}");
        }
    }
}
