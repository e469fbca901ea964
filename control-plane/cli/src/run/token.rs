//! The join token of one `weft run`: for one workload, for a few minutes.

use std::time::Duration;

use weft_control_plane::admin_api::{Token, TokenRequest};

use super::{Run, state::State};
use crate::{
    client::AdminClient,
    exit::Failure,
    output::{Text, notice},
};

/// Long enough for a slow machine to start a sidecar, and too short to be worth stealing.
const LIFE: Duration = Duration::from_secs(5 * 60);

/// `None` when the control plane is away and the sidecar has the state of an earlier start to live on.
pub async fn mint(run: &Run, namespace: &str, admin: &AdminClient, state: &State) -> Result<Option<String>, Failure> {
    let request = TokenRequest {
        namespace: namespace.to_owned(),
        service_account: run.service_account().to_owned(),
        services: vec![run.service.clone()],
        ttl_seconds: LIFE.as_secs(),
        uses: 1,
    };
    match admin.post::<Token>("/v1/tokens", &request).await {
        Ok(token) => Ok(Some(token.token)),
        Err(error) if error.is_absence() && state.has_history() => {
            notice(Text::paragraph(format!("weft run: {error}")));
            notice(format!("weft run: starting with the state in {}", state.path().display()));
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}
