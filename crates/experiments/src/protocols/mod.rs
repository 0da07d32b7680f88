//! The experiments of the paper and of its sources, a page each.

mod ablations;
mod cifar;
mod descendants;
mod fig1;
mod imagenet;
mod miniature;
mod thin;

use crate::protocol::{Form, Protocol};

impl Form {
    /// What is different from the whole, if anything is that counts.
    pub fn differs(self) -> Option<&'static str> {
        (self == Form::Miniature).then_some(miniature::DIFFERS)
    }
}

impl Protocol {
    /// The experiment in a form; none if it has no miniature, being one of small images.
    pub fn in_form(self, form: Form) -> Option<Protocol> {
        match form {
            Form::Whole => Some(self),
            Form::Rehearsal => Some(thin::rehearsal(self)),
            Form::Miniature => miniature::miniature(self),
        }
    }
}

/// Every page, the cheapest first.
pub fn all() -> Vec<Protocol> {
    vec![
        cifar::eighty_seconds(),
        fig1::fig1(),
        ablations::recipe(),
        descendants::descendants(),
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

/// The page called `name`.
pub fn find(name: &str) -> Option<Protocol> {
    all().into_iter().find(|page| page.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Takes;
    use std::collections::BTreeMap;

    #[test]
    fn every_page_is_whole() {
        for page in all() {
            assert_eq!(find(page.name).unwrap().name, page.name);
            for text in [page.about, page.what, page.paper, &page.differs.join(" ")] {
                assert!(!text.is_empty(), "{}", page.name);
            }
            assert!(page.seeds > 0 && !page.arms.is_empty() && !page.views.is_empty());
            for arm in &page.arms {
                let mut stages = arm.stages.iter();
                assert_eq!(stages.next().unwrap().takes, Takes::Nothing, "{}", arm.name);
                assert!(
                    stages.all(|stage| stage.takes != Takes::Nothing && !stage.name.is_empty())
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
    fn arms_of_one_name_are_one() {
        let mut seen = BTreeMap::new();
        for arm in all().into_iter().flat_map(|page| page.arms) {
            let text = format!("{:?}", arm.stages);
            let first = seen.entry(arm.name.clone()).or_insert_with(|| text.clone());
            assert_eq!(*first, text, "{}", arm.name);
        }
        assert!(seen.len() > 20, "{}", seen.len());
    }
}
