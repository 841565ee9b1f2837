//! `sprat operator`.

use serde_json::json;

use super::accounts::unix;
use super::args::Operator;
use super::identity::Identity;
use super::units::Span;
use super::{member, output, paths};
use crate::error::{Exit, Failure};
use crate::trust::accounts::{AccountsError, CLASS_DEFAULT};
use crate::trust::credential::{Terms, is_account_name};
use crate::trust::{Credential, Grant, PublicKey};

/// The default of `--name`.
const NAME: &str = "operator";

/// Makes the key, or signs a credential.
pub(crate) fn run(args: &Operator) -> Result<u8, Failure> {
    match args.action.as_str() {
        "init" => init(args),
        "sign" => sign(args),
        other => Err(Failure::usage(format!("{other:?} is no action of operator; write init or sign"))),
    }
}

fn init(args: &Operator) -> Result<u8, Failure> {
    let folder = folder(args)?;
    paths::make_private_folder(&folder)?;
    let key = Identity::open(&folder)?.public().to_string();
    output::result(args.json, "operator", &json!({ "key": key }), &key)?;
    output::done(args.json)
}

fn sign(args: &Operator) -> Result<u8, Failure> {
    let [user, key] = &args.whom[..] else {
        return Err(Failure::usage("write sprat operator sign USER KEY, with the key that `sprat id` prints there"));
    };
    let key: PublicKey = key.parse().map_err(|error| Failure::usage(format!("{key:?}: {error}")))?;
    let class = args.class.as_deref().unwrap_or(CLASS_DEFAULT);
    if let Some(wrong) = [user.as_str(), class].into_iter().find(|name| !is_account_name(name)) {
        return Err(Failure::usage(AccountsError::Name(wrong.to_owned()).to_string()));
    }
    member::named(&args.supers)?;
    let folder = folder(args)?;
    let missing = || Failure::usage(format!("{} has no key; make it with sprat operator init", folder.display()));
    let operator = Identity::read(&folder)?.ok_or_else(missing)?;
    let issued = unix();
    let after = |span: Option<Span>| span.map(|Span(span)| issued.saturating_add(span.as_secs()));
    let not_before = after(args.starts);
    let not_after = args.valid.map(|Span(valid)| not_before.unwrap_or(issued).saturating_add(valid.as_secs()));
    let terms = Terms { name: user.clone(), class: class.to_owned(), key, issued, not_before, not_after };
    let credential = Credential::sign(terms, &operator.secret);
    let text = Grant { credential, supers: args.supers.clone() }.to_string();
    // If nobody reads the credential, it is lost.
    let printed = output::result(args.json, "credential", &json!({ "credential": text }), &text);
    printed.map_err(|failure| Failure::new(Exit::Internal, failure.message))?;
    output::done(args.json)
}

fn folder(args: &Operator) -> Result<std::path::PathBuf, Failure> {
    let name = paths::checked_name(args.name.as_deref().unwrap_or(NAME))?;
    paths::state_folder(name, args.state.as_deref(), &|key| std::env::var_os(key))
}
