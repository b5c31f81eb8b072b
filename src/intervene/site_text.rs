//! The text of a site: the hook point's name with a bracket.
//!
//! `blocks.2.attn.hook_z[head=1]`, `blocks.1.hook_resid_pre[slot=name]`, `blocks.0.hook_mlp_out[pos=3]`,
//! `blocks.0.mlp.hook_post[neurons=5..9]`, `blocks.0.attn.hook_pattern[head=1,slot=last,from_slot=name]`; no bracket
//! means every position, head and part. The text parses back.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::error::InterveneError;
use super::site::{Part, Positions, Site, SiteKind};
use crate::model::HookPoint;

/// What stands inside the bracket.
const FORM: &str = "inside the bracket stand head=<number>, slot=<name> or pos=<number>, of mlp.hook_post neuron=<number> \
                    or neurons=<first>..<end>, of attn.hook_pattern from_slot=<name> or from=<number>, separated by commas";

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.hook())?;
        let mut parts = Vec::new();
        if let Some(head) = self.head {
            parts.push(format!("head={head}"));
        }
        let mut place = |positions: &Positions, [slot, index]: [&str; 2]| match positions {
            Positions::All => {}
            Positions::Slot(name) => parts.push(format!("{slot}={name}")),
            Positions::Index(number) => parts.push(format!("{index}={number}")),
        };
        place(&self.positions, ["slot", "pos"]);
        match &self.part {
            Part::All => {}
            Part::From(sources) => place(sources, ["from_slot", "from"]),
            Part::Neurons { first, end } if *end == first + 1 => parts.push(format!("neuron={first}")),
            Part::Neurons { first, end } => parts.push(format!("neurons={first}..{end}")),
        }
        if parts.is_empty() { Ok(()) } else { write!(f, "[{}]", parts.join(",")) }
    }
}

impl FromStr for Site {
    type Err = InterveneError;

    fn from_str(text: &str) -> Result<Self, InterveneError> {
        let refuse = |message: String| InterveneError::SiteText { text: text.to_owned(), message };
        let (name, bracket) = match text.split_once('[') {
            None => (text, None),
            Some((name, rest)) => {
                let inside = rest.strip_suffix(']').ok_or_else(|| refuse("the bracket is not closed".into()))?;
                (name, Some(inside))
            }
        };
        let hook: HookPoint = name.parse().map_err(|error| refuse(format!("{error}")))?;
        let kind = SiteKind::of(hook.kind).ok_or_else(|| {
            let kinds = SiteKind::ALL.map(SiteKind::name).join(", ");
            refuse(format!("this hook can be read but not patched; sites are of kind {kinds}"))
        })?;
        let mut site = Site::everywhere(kind, hook.layer);
        for part in bracket.into_iter().flat_map(|inside| inside.split(',')) {
            site.read_part(part).map_err(refuse)?;
        }
        Ok(site)
    }
}

impl Site {
    /// Reads `head=1`, `slot=name`, `pos=3`, `neuron=7`, `neurons=5..9`, `from=2` or `from_slot=name`.
    fn read_part(&mut self, part: &str) -> Result<(), String> {
        let (key, value) = part.split_once('=').ok_or(FORM)?;
        let number = |text: &str| text.parse::<usize>().map_err(|_| format!("{key}={value:?} is no number; {FORM}"));
        let again = Err(format!("{key} is given twice, empty, or beside another of its kind; {FORM}"));
        let (placed, parted) = (self.positions != Positions::All, self.part != Part::All);
        match key {
            "head" if !self.kind.has_heads() => {
                return Err("only attn.hook_q, hook_k, hook_v, hook_pattern and hook_z have heads".into());
            }
            "neuron" | "neurons" if self.kind != SiteKind::MlpPost => {
                return Err("only mlp.hook_post has neurons".into());
            }
            "from" | "from_slot" if self.kind != SiteKind::Pattern => {
                return Err("only attn.hook_pattern has sources".into());
            }
            "head" if self.head.is_none() => self.head = Some(number(value)?),
            "slot" | "pos" if placed => return again,
            "neuron" | "neurons" | "from" | "from_slot" if parted => return again,
            "slot" if !value.is_empty() => self.positions = Positions::Slot(value.to_owned()),
            "pos" => self.positions = Positions::Index(number(value)?),
            "from_slot" if !value.is_empty() => self.part = Part::From(Positions::Slot(value.to_owned())),
            "from" => self.part = Part::From(Positions::Index(number(value)?)),
            "neuron" => {
                let first = number(value)?;
                self.part = Part::Neurons { first, end: first.saturating_add(1) };
            }
            "neurons" => {
                let (first, end) = value.split_once("..").ok_or(FORM)?;
                self.part = Part::Neurons { first: number(first)?, end: number(end)? };
            }
            "head" | "slot" | "from_slot" => return again,
            _ => return Err(FORM.into()),
        }
        Ok(())
    }
}

impl Serialize for Site {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Site {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sites() -> impl Strategy<Value = Site> {
        let positions = prop_oneof![
            Just(Positions::All),
            "[a-z][a-z0-9_ -]{0,8}".prop_map(Positions::Slot),
            (0usize..99).prop_map(Positions::Index),
        ];
        let places = || positions.clone();
        let neurons = (0usize..3000, 1usize..9);
        (0..SiteKind::ALL.len(), 0usize..40, places(), proptest::option::of(0usize..32), neurons, places()).prop_map(
            |(kind, layer, positions, head, (first, count), sources)| {
                let kind = SiteKind::ALL[kind];
                let part = match (kind, &sources) {
                    (SiteKind::Pattern, Positions::Slot(_) | Positions::Index(_)) => Part::From(sources),
                    (SiteKind::MlpPost, Positions::Slot(_)) => Part::Neurons { first, end: first + count },
                    _ => Part::All,
                };
                let layer = if kind.is_embedding() { 0 } else { layer };
                Site { kind, layer, positions, head: head.filter(|_| kind.has_heads()), part }
            },
        )
    }

    proptest! {
        #[test]
        fn text_and_site_are_the_same_thing(site in sites()) {
            let text = site.to_string();
            prop_assert_eq!(text.parse::<Site>().expect("its own text"), site.clone());
            let json = serde_json::to_string(&site).expect("text");
            prop_assert_eq!(serde_json::from_str::<Site>(&json).expect("its own JSON"), site);
        }
    }

    #[test]
    fn names_are_those_of_the_field() {
        assert_eq!(Site::of_head(2, 1).to_string(), "blocks.2.attn.hook_z[head=1]");
        assert_eq!(Site::at_slot(SiteKind::ResidPre, 1, "name").to_string(), "blocks.1.hook_resid_pre[slot=name]");
        assert_eq!(Site::everywhere(SiteKind::MlpOut, 0).to_string(), "blocks.0.hook_mlp_out");
        assert_eq!(Site::everywhere(SiteKind::Embed, 0).to_string(), "hook_embed");
        assert_eq!(Site::of_neurons(1, 4..5).to_string(), "blocks.1.mlp.hook_post[neuron=4]");
        assert_eq!(Site::of_neurons(1, 4..9).to_string(), "blocks.1.mlp.hook_post[neurons=4..9]");
        let read = Site::of_pattern(0, Positions::Slot("last".into()), Positions::Index(2)).with_head(1);
        assert_eq!(read.to_string(), "blocks.0.attn.hook_pattern[head=1,slot=last,from=2]");
    }

    #[test]
    fn malformed_texts_are_refused_with_a_reason() {
        for (text, reason) in [
            ("blocks.0.hook_resid_pre[head=1]", "have heads"),
            ("blocks.0.attn.hook_z[head=1", "not closed"),
            ("blocks.0.attn.hook_z[head=one]", "no number"),
            ("blocks.0.attn.hook_z[slot=a,pos=1]", "beside another of its kind"),
            ("blocks.0.attn.hook_z[slot=]", "empty"),
            ("blocks.0.attn.hook_z[]", "separated by commas"),
            ("blocks.0.mlp.hook_pre", "can be read but not patched"),
            ("blocks.0.hook_mlp_out[neuron=1]", "only mlp.hook_post has neurons"),
            ("blocks.0.mlp.hook_post[neurons=4]", "<first>..<end>"),
            ("blocks.0.attn.hook_z[from=1]", "only attn.hook_pattern has sources"),
            ("blocks.0.attn.hook_pattern[from=1,from_slot=a]", "beside another of its kind"),
            ("block.0.hook_resid_pre", "names no hook point"),
        ] {
            let error = text.parse::<Site>().expect_err(text).to_string();
            assert!(error.contains(reason) && error.contains(text), "{error}");
        }
        let error = "resid_prae".parse::<SiteKind>().expect_err("unknown").to_string();
        assert!(error.contains("did you mean resid_pre?"), "{error}");
    }
}
