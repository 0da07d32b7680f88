//! The experiments of the paper and of its sources, one function each.

mod ablations;
mod cifar;
mod claims;
mod descendants;
mod fig1;
mod imagenet;
mod miniature;
mod recipes;
mod thin;

use crate::protocol::{Protocol, Scale};

impl Scale {
    /// The differences from the full experiment that matter for the results.
    pub fn differs(self) -> Option<&'static str> {
        (self == Scale::Miniature).then_some(miniature::DIFFERS)
    }
}

impl Protocol {
    /// The experiment at a scale; `None` for the miniature of an experiment on small images.
    pub fn at_scale(self, scale: Scale) -> Option<Protocol> {
        match scale {
            Scale::Whole => Some(self),
            Scale::Rehearsal => Some(thin::rehearsal(self)),
            Scale::Miniature => miniature::miniature(self),
        }
    }
}

/// Every protocol, the cheapest first.
pub fn all() -> Vec<Protocol> {
    vec![
        cifar::eighty_seconds(),
        fig1::fig1(),
        ablations::recipe(),
        descendants::descendants(),
        claims::gradients(),
        claims::dropout_average(),
        recipes::cifar(),
        claims::probes(),
        recipes::tiny(),
        cifar::eighteen_percent(),
        ablations::overlap(),
        ablations::width(),
        ablations::dropout(),
        ablations::colour(),
        cifar::thirteen_percent(),
        ablations::lrn(),
        cifar::eleven_percent(),
        imagenet::ilsvrc2010(),
        imagenet::ilsvrc2012(),
        imagenet::ensemble(),
        imagenet::pretrain(),
    ]
}

/// The protocol called `name`.
pub fn find(name: &str) -> Option<Protocol> {
    all().into_iter().find(|page| page.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Inherits;
    use std::collections::BTreeMap;

    #[test]
    fn every_protocol_is_complete() {
        for page in all() {
            assert_eq!(find(page.name).unwrap().name, page.name);
            for text in [page.about, page.what, page.paper, &page.differs.join(" ")] {
                assert!(!text.is_empty(), "{}", page.name);
            }
            assert!(page.seeds > 0 && !page.arms.is_empty() && !page.views.is_empty());
            for arm in &page.arms {
                let mut stages = arm.stages.iter();
                assert_eq!(stages.next().unwrap().inherits, Inherits::Nothing, "{}", arm.name);
                assert!(
                    stages
                        .all(|stage| stage.inherits != Inherits::Nothing && !stage.name.is_empty())
                );
                for stage in &arm.stages {
                    let rows = stage.spec.describe().unwrap();
                    let learned = rows.iter().filter(|row| row.parameters > 0);
                    let names: Vec<&str> = learned.map(|row| row.name.as_str()).collect();
                    let idle = stage.recipe.idle_layers(&names);
                    assert!(idle.iter().all(|name| *name == "conv6"), "{}: {idle:?}", arm.name);
                }
            }
        }
    }

    /// Runs are found by their arm's name.
    #[test]
    fn arms_with_the_same_name_are_equal() {
        let mut seen = BTreeMap::new();
        for arm in all().into_iter().flat_map(|page| page.arms) {
            let text = format!("{:?}", arm.stages);
            let first = seen.entry(arm.name.clone()).or_insert_with(|| text.clone());
            assert_eq!(*first, text, "{}", arm.name);
        }
        assert!(seen.len() > 20, "{}", seen.len());
    }
}
