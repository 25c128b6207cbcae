//! The command line of tidings.

#![expect(clippy::print_stdout, reason = "a command line answers on standard output")]

use std::{
    io::Write,
    path::PathBuf,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use clap::{Parser, Subcommand};
use tidings::{app, auth::Tokens, config::Settings, logging, store::Store};

mod demo;

/// A Socket.IO-compatible messaging server: private chats, support tickets, REST.
///
/// Without a command it serves on port 5000 with an SQLite file that it creates. Settings come from config.toml and the environment:
/// PORT, HOST, DATABASE_URL (or DB_HOST, DB_PORT, DB_USER, DB_PASS, DB_NAME), JWT_SECRET, FRONTEND_URL, LEGACY_UPSTREAM, REDIS_URL,
/// RUST_LOG, METRICS_LISTEN; a .env file in the working folder is read too.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    /// The settings file [default: config.toml, if there is one]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Serve (the default)
    Serve,
    /// Bring the database's schema up to date and exit; it is done at every start, too
    Migrate {
        /// Change nothing, and say which steps have been taken and what the others would add
        #[arg(long)]
        status: bool,
    },
    /// Copy the SQLite database to a new file, while servers go on using it
    ///
    /// The copy is of one moment, holds all that was acknowledged before, is looked through for damage, and gets its name once it is whole
    /// and on the disk. To restore it: stop the server, move the database away with its -wal and -shm, put the copy in its place, start.
    Backup {
        /// The file to make; one that exists is not overwritten
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Print a token for a user, for Postman or curl
    Token {
        /// The user's id
        #[arg(long, value_name = "ID")]
        user: i64,
        /// The role that the token carries, such as admin
        #[arg(long)]
        role: Option<String>,
        /// How long the token lives
        #[arg(long, default_value = "7d", value_parser = humantime::parse_duration)]
        expires: Duration,
    },
    /// Ban a user, or let one in again, on all running nodes within a second
    User {
        #[command(subcommand)]
        action: UserAction,
    },
    /// Serve a fresh demo database in a temporary folder, and print users, tokens and commands to try
    Demo,
}

#[derive(Subcommand)]
enum UserAction {
    /// Close all sockets of a user, and take no token of the user any more
    Ban {
        /// The user's id
        id: i64,
    },
    /// Let a user in again
    Unban {
        /// The user's id
        id: i64,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match read_dotenv().and_then(|()| runtime()?.block_on(run(arguments))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(sentence) => {
            eprintln!("tidings: {sentence}");
            ExitCode::FAILURE
        }
    }
}

/// A `.env` file in the working folder counts as environment. What stands in it is not repeated: it may be a secret.
fn read_dotenv() -> Result<(), String> {
    match dotenvy::dotenv() {
        Err(dotenvy::Error::LineParse(..)) => {
            Err("The .env file cannot be read: a line is not NAME=value; quote values with blanks.".into())
        }
        Err(e) if !e.not_found() => Err("The .env file cannot be read.".into()),
        _ => Ok(()),
    }
}

/// On a single processor nothing is gained by handing tasks from one thread to another.
fn runtime() -> Result<tokio::runtime::Runtime, String> {
    let is_single = std::thread::available_parallelism().is_ok_and(|processors| processors.get() == 1);
    let mut runtime = if is_single { tokio::runtime::Builder::new_current_thread() } else { tokio::runtime::Builder::new_multi_thread() };
    runtime.enable_all().build().map_err(|e| e.to_string())
}

async fn run(arguments: Arguments) -> Result<(), String> {
    let settings = Settings::load(arguments.config.as_deref())?;
    let _log = logging::start(&settings)?;
    tidings::panics::install();
    match arguments.command.unwrap_or(Command::Serve) {
        Command::Serve => serve(settings).await,
        Command::Migrate { status: true } => {
            for step in Store::status(&settings.database_url).await? {
                println!("{} {}", if step.would_add.is_some() { "pending" } else { "applied" }, step.step);
                for addition in step.would_add.into_iter().flatten() {
                    println!("        would add {addition}");
                }
            }
            Ok(())
        }
        Command::Migrate { status: false } => {
            Store::open(&settings.database_url, &settings.database, settings.redis_url.is_some()).await?.close().await;
            println!("The schema is up to date.");
            Ok(())
        }
        Command::Backup { file } => back_up(settings.database_url, file).await,
        Command::Token { user, role, expires } => {
            let auth = &settings.auth;
            let tokens = Tokens::new(&app::secret(&settings)?, auth.leeway, auth.require_expiry, &auth.admin_roles);
            println!("{}", tokens.sign(entity::UserId(user), role.as_deref(), expires).map_err(|e| e.to_string())?);
            Ok(())
        }
        Command::User { action } => change_user(&settings, action).await,
        Command::Demo => demo::run(settings).await,
    }
}

async fn serve(settings: Settings) -> Result<(), String> {
    let database = settings.sqlite_file().map_or_else(|| "the configured server".to_owned(), |file| file.display().to_string());
    let server = app::Server::start(settings).await?;
    let (address, curl) = (server.address, reachable(server.address));
    if let Some(address) = server.metrics_address {
        tracing::info!(%address, "metrics have a port of their own");
    }
    say(&format!(
        "tidings listens on http://{address}\ndatabase: {database}\n\
         try: curl http://{curl}/readyz, and `tidings demo` for users and commands to play with"
    ));
    server.run(until_told_to_stop()).await?;
    tracing::info!("stopping");
    tokio::select! {
        () = server.stop() => {}
        () = until_told_to_stop() => {}
    }
    Ok(())
}

async fn change_user(settings: &Settings, action: UserAction) -> Result<(), String> {
    let store = Store::open(&settings.database_url, &settings.database, false).await?;
    let (UserAction::Ban { id } | UserAction::Unban { id }) = action;
    let user = entity::UserId(id);
    let outcome = match (store.find_user(user).await, action) {
        (Ok(None), _) => return Err(format!("There is no user {id}.")),
        (Err(e), _) => Err(e),
        (Ok(Some(_)), UserAction::Ban { .. }) => store.ban(user, tidings::clock::now()).await.map(|()| "banned"),
        (Ok(Some(_)), UserAction::Unban { .. }) => store.unban(user).await.map(|()| "no longer banned"),
    };
    store.close().await;
    say(&format!("User {id} is {}.", outcome.map_err(|e| e.to_string())?));
    Ok(())
}

/// Prints lines, if anybody reads them: a server goes on when nobody does.
fn say(lines: &str) {
    writeln!(std::io::stdout(), "{lines}").ok();
}

async fn back_up(url: String, file: PathBuf) -> Result<(), String> {
    let stop = Arc::new(AtomicBool::new(false));
    let (stopping, target) = (stop.clone(), file.clone());
    let mut copying = tokio::task::spawn_blocking(move || {
        let mut last = None;
        Store::back_up(&url, &target, &stopping, |percent| {
            if last.replace(percent) != Some(percent) {
                println!("copied {percent} %");
            }
        })
    });
    let outcome = tokio::select! {
        outcome = &mut copying => outcome,
        () = until_told_to_stop() => {
            stop.store(true, Ordering::Relaxed);
            copying.await
        }
    };
    let backup = outcome.map_err(|e| e.to_string())??;
    println!("{} is a backup of {} bytes, checked and whole. To restore it: {}", file.display(), backup.bytes, backup.restore);
    Ok(())
}

fn reachable(address: std::net::SocketAddr) -> String {
    if address.ip().is_unspecified() { format!("localhost:{}", address.port()) } else { address.to_string() }
}

#[cfg(unix)]
async fn until_told_to_stop() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return std::future::pending().await };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}

#[cfg(not(unix))]
async fn until_told_to_stop() {
    tokio::signal::ctrl_c().await.ok();
}
