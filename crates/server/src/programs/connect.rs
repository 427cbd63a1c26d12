//! `toolgate connect`: Toolgate's API on this machine, for programs that know nothing of Pomerium.

mod answer;
mod forward;
mod gate;
mod keeper;

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use axum::Router;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::net::TcpListener;

use self::{forward::Forwarder, gate::Gate, keeper::Keeper};
use super::{
    Error, Way, login,
    logins::Logins,
    origin::Origin,
    secret,
    terminal::{note, say},
};

/// Where callers come in, and what they must know.
pub(super) struct Entrance {
    pub(super) listen: SocketAddr,
    pub(super) key_file: Option<PathBuf>,
}

/// Forwards until ctrl-c.
pub(super) async fn connect(
    way: &Way,
    logins: Logins,
    origin: Origin,
    entrance: Entrance,
) -> Result<(), Error> {
    let Entrance { listen, key_file } = entrance;
    if !listen.ip().is_loopback() {
        return Err(Error::failed(format!(
            "--listen {listen}: only this machine may use your login; give a loopback address \
             such as 127.0.0.1:8484"
        )));
    }
    let key = key_file.map(|file| secret::read("--key-file", &file));
    let key = key.transpose()?;
    let (_, who) = login::signed_in(way, &logins, &origin).await?;
    let cannot = |error| Error::failed(format!("--listen {listen}: cannot listen: {error}"));
    let listener = TcpListener::bind(listen).await.map_err(cannot)?;
    let address = listener.local_addr().map_err(cannot)?;
    welcome(address, key.as_ref());
    note(&format!(
        "Forwarding to {origin} as {}; ctrl-c ends it.",
        who.full_name()
    ));

    let site = way.site(&origin);
    let keeper = Keeper::new(site.clone(), logins.clone(), &who);
    way.tasks.spawn(keeper.clone().keep(way.stop.clone()));
    let forwarder = Forwarder {
        site,
        logins,
        gate: Gate::new(key),
        keeper,
    };
    let router = Router::new()
        .fallback(forward::forward)
        .with_state(Arc::new(forwarder));
    tokio::select! {
        served = axum::serve(listener, router).into_future() => served.map_err(cannot),
        _ = tokio::signal::ctrl_c() => Ok(()),
    }
}

/// What to tell a program, as a shell takes it.
fn welcome(address: SocketAddr, key: Option<&SecretString>) {
    // A program wants to have some key, even if nobody looks at it.
    let key = key.map_or("none-needed", |key| key.expose_secret());
    say(&format!("export OPENAI_BASE_URL=http://{address}/v1"));
    say(&format!("export OPENAI_API_KEY={}", quoted(key)));
}

/// `text` as one word of a shell.
fn quoted(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if !text.is_empty() && text.bytes().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_one_word_of_a_shell() {
        assert_eq!(quoted("sk-1_a.b"), "sk-1_a.b");
        assert_eq!(quoted(""), "''");
        assert_eq!(quoted("a b$(c)'d"), r"'a b$(c)'\''d'");
    }
}
