//! The command line of tidings.

#![expect(clippy::print_stdout, reason = "a command line answers on standard output")]

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::{Parser, Subcommand};
use tidings::config::{DotEnv, Loaded};
use tidings::{logging, panics};

mod commands;

/// What a siege or a crowd has used comes back: the system's allocator keeps most of what many threads have freed.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

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
    /// Look at everything that the server needs, change nothing, and say what to do; exits with 1 if there is a problem
    ///
    /// Run it as the user that the server runs as, in its folder and with its environment.
    Doctor,
    /// Print the settings in effect and where each came from, as a config.toml, with secrets masked
    Config,
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
        /// The role that the token carries, such as admin [default: that of the user]
        #[arg(long)]
        role: Option<String>,
        /// How long the token lives
        #[arg(long, default_value = "7d", value_parser = humantime::parse_duration)]
        expires: Duration,
    },
    /// Ban a user, or let one in again, on all running nodes within a second
    User {
        #[command(subcommand)]
        action: commands::user::Action,
    },
    /// Serve a fresh demo database in a temporary folder, and print users, tokens and commands to try
    Demo,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match DotEnv::load().and_then(|dotenv| runtime()?.block_on(run(arguments, &dotenv))) {
        Ok(code) => code,
        Err(sentence) => {
            eprintln!("tidings: {sentence}");
            ExitCode::FAILURE
        }
    }
}

/// On a single processor nothing is gained by handing tasks from one thread to another.
fn runtime() -> Result<tokio::runtime::Runtime, String> {
    let is_single = std::thread::available_parallelism().is_ok_and(|processors| processors.get() == 1);
    let mut runtime = if is_single { tokio::runtime::Builder::new_current_thread() } else { tokio::runtime::Builder::new_multi_thread() };
    runtime.enable_all().build().map_err(|e| e.to_string())
}

async fn run(arguments: Arguments, dotenv: &DotEnv) -> Result<ExitCode, String> {
    let loaded = Loaded::read(arguments.config.as_deref(), dotenv);
    let command = arguments.command.unwrap_or(Command::Serve);
    if let Command::Doctor = command {
        return Ok(commands::doctor::run(loaded, dotenv).await);
    }
    let loaded = loaded?;
    if let Command::Config = command {
        commands::config::run(&loaded);
        return Ok(ExitCode::SUCCESS);
    }
    let settings = loaded.settings;
    let _log = logging::start(&settings)?;
    panics::install();
    match command {
        Command::Serve => commands::serve::run(settings).await,
        Command::Migrate { status } => commands::migrate::run(&settings, status).await,
        Command::Backup { file } => commands::backup::run(settings.database_url, file).await,
        Command::Token { user, role, expires } => commands::user::print_token(&settings, user, role, expires).await,
        Command::User { action } => commands::user::run(&settings, action).await,
        Command::Demo => commands::demo::run(settings).await,
        Command::Doctor | Command::Config => Ok(()),
    }?;
    Ok(ExitCode::SUCCESS)
}
