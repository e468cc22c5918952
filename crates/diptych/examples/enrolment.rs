//! Students enrol in courses, under two rules that no single stream can keep: a course has so many seats,
//! and a student takes so many courses. `cargo run -p diptych --example enrolment` shows both against a
//! real store.

use diptych::prelude::*;
use std::collections::BTreeSet;

/// The most courses that one student takes.
const COURSES_MAX: usize = 3;

#[derive(Id)]
struct CourseId(String);

#[derive(Id)]
struct StudentId(String);

/// The stream of one enrolment. No rule rests on it: two enrolments of different students never wait for each
/// other because of a version.
#[derive(Id)]
struct EnrolmentId(String);

#[derive(Clone, Debug, PartialEq, Event)]
#[event(category = "enrolment", owner = "faculty")]
enum EnrolmentEvent {
    CourseOffered {
        #[tag]
        course: CourseId,
        seats: u32,
    },
    Enrolled {
        #[tag]
        course: CourseId,
        #[tag]
        student: StudentId,
    },
    Left {
        #[tag]
        course: CourseId,
        #[tag]
        student: StudentId,
    },
}

#[derive(Clone, Debug, PartialEq, Command)]
enum EnrolmentCommand {
    Offer { course: CourseId, seats: u32 },
    Enrol { course: CourseId, student: StudentId },
    Leave { course: CourseId, student: StudentId },
}

#[derive(Clone, Debug, PartialEq, Rejection)]
enum EnrolmentRejection {
    #[reject("the course is offered already")]
    CourseAlreadyOffered,
    #[reject("there is no such course", not_found)]
    CourseNotOffered,
    #[reject("all {seats} seats of the course are taken")]
    CourseFull { seats: u32 },
    #[reject("the student takes {courses} courses, and no more are allowed")]
    TooManyCourses { courses: u32 },
    #[reject("the student does not take the course")]
    NotEnrolled,
}

/// A course and a student, as the boundary of a command shows them.
#[derive(Default, Data)]
struct Enrolment {
    seats: Option<u32>,
    taken: Vec<Place>,
}

/// A student's place in a course.
#[derive(Clone, Debug, PartialEq, Data)]
struct Place {
    course: CourseId,
    student: StudentId,
}

impl Enrolment {
    fn enrol(&self, place: Place) -> Result<EnrolmentEvent, EnrolmentRejection> {
        let seats = self.seats.ok_or(EnrolmentRejection::CourseNotOffered)?;
        let students: BTreeSet<_> =
            self.taken.iter().filter(|held| held.course == place.course).map(|held| &held.student).collect();
        if students.len() >= seats as usize {
            return Err(EnrolmentRejection::CourseFull { seats });
        }
        let courses = self.taken.iter().filter(|held| held.student == place.student).count();
        if courses >= COURSES_MAX {
            return Err(EnrolmentRejection::TooManyCourses { courses: courses as u32 });
        }
        let Place { course, student } = place;
        Ok(EnrolmentEvent::Enrolled { course, student })
    }
}

impl Decider for Enrolment {
    type Command = EnrolmentCommand;
    type Event = EnrolmentEvent;
    type Rejection = EnrolmentRejection;

    fn decide(
        &self,
        command: EnrolmentCommand,
        _: &Context,
    ) -> Result<Vec<EnrolmentEvent>, EnrolmentRejection> {
        let event = match command {
            EnrolmentCommand::Offer { .. } if self.seats.is_some() => {
                return Err(EnrolmentRejection::CourseAlreadyOffered);
            }
            EnrolmentCommand::Offer { course, seats } => EnrolmentEvent::CourseOffered { course, seats },
            EnrolmentCommand::Enrol { course, student } => {
                let place = Place { course, student };
                if self.taken.contains(&place) {
                    return Ok(Vec::new());
                }
                self.enrol(place)?
            }
            EnrolmentCommand::Leave { course, student } => {
                let place = Place { course: course.clone(), student: student.clone() };
                if !self.taken.contains(&place) {
                    return Err(EnrolmentRejection::NotEnrolled);
                }
                EnrolmentEvent::Left { course, student }
            }
        };
        Ok(vec![event])
    }

    fn evolve(mut self, event: &EnrolmentEvent) -> Self {
        match event.clone() {
            EnrolmentEvent::CourseOffered { seats, .. } => self.seats = Some(seats),
            EnrolmentEvent::Enrolled { course, student } => self.taken.push(Place { course, student }),
            EnrolmentEvent::Left { course, student } => {
                let left = Place { course, student };
                self.taken.retain(|held| *held != left);
            }
        }
        self
    }
}

impl Boundary for Enrolment {
    fn boundary(command: &EnrolmentCommand, _: &Context) -> TagQuery {
        match command {
            EnrolmentCommand::Offer { course, .. } => {
                TagQuery::tagged("course", course).of_types(&["CourseOffered"])
            }
            // Everything about the course, and where else the student is.
            EnrolmentCommand::Enrol { course, student } => {
                TagQuery::tagged("course", course).or_tagged("student", student)
            }
            EnrolmentCommand::Leave { course, student } => {
                TagQuery::tagged("student", student).and_tagged("course", course)
            }
        }
    }
}

fn service() -> Service {
    Service::new("faculty").about("Enrols students in courses").boundary::<Enrolment>()
}

/// Nine students want one of four seats, all at once.
#[allow(clippy::print_stdout, reason = "an example shows what it does")]
#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::temp_dir().join(format!("diptych-enrolment-{}", std::process::id()));
    let running = service().open(Config::at(folder.as_path())).await?;
    let (commands, principal) = (running.commands(), running.principal());
    let offer = EnrolmentCommand::Offer { course: CourseId::new("rust"), seats: 4 };
    commands.handle::<Enrolment>(Request::by(principal).to(&EnrolmentId::new("rust"), offer)).await?;
    let wishes = (1..=9).map(|number| {
        let (commands, student) = (std::sync::Arc::clone(commands), format!("student {number}"));
        let command =
            EnrolmentCommand::Enrol { course: CourseId::new("rust"), student: StudentId::new(&*student) };
        let request = Request::by(principal).to(&EnrolmentId::new(format!("rust {student}")), command);
        tokio::spawn(async move { (student, commands.handle::<Enrolment>(request).await) })
    });
    for wish in wishes.collect::<Vec<_>>() {
        match wish.await? {
            (student, Ok(receipt)) => println!("{student}: enrolled at {}", receipt.token.position),
            (student, Err(error)) => println!("{student}: {error}"),
        }
    }
    running.stop().await?;
    std::fs::remove_dir_all(folder)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use diptych::testing::{GivenFact, given_log, on};

    fn offered(course: &str, seats: u32) -> GivenFact {
        on(course, EnrolmentEvent::CourseOffered { course: course.into(), seats })
    }

    fn event(course: &str, student: &str) -> EnrolmentEvent {
        EnrolmentEvent::Enrolled { course: course.into(), student: student.into() }
    }

    fn enrolled(course: &str, student: &str) -> GivenFact {
        on(&format!("{course} {student}"), event(course, student))
    }

    fn left(course: &str, student: &str) -> GivenFact {
        let event = EnrolmentEvent::Left { course: course.into(), student: student.into() };
        on(&format!("{course} {student}"), event)
    }

    fn enrol(course: &str, student: &str) -> EnrolmentCommand {
        EnrolmentCommand::Enrol { course: course.into(), student: student.into() }
    }

    #[test]
    fn a_student_enrols_where_a_seat_is_free() {
        given_log::<Enrolment>([offered("rust", 1)]).when(enrol("rust", "ann")).then([event("rust", "ann")]);
        given_log::<Enrolment>([offered("go", 1)])
            .when(enrol("rust", "ann"))
            .then_rejected(EnrolmentRejection::CourseNotOffered);
    }

    #[test]
    fn a_full_course_takes_nobody_until_somebody_leaves() {
        let full =
            [offered("rust", 2), enrolled("rust", "ann"), enrolled("go", "x"), enrolled("rust", "bob")];
        given_log::<Enrolment>(full.clone())
            .when(enrol("rust", "cy"))
            .then_rejected(EnrolmentRejection::CourseFull { seats: 2 });
        given_log::<Enrolment>(full.into_iter().chain([left("rust", "ann")]))
            .when(enrol("rust", "cy"))
            .then([event("rust", "cy")]);
    }

    #[test]
    fn a_student_takes_so_many_courses_and_no_more() {
        let busy = ["a", "b", "c"].map(|course| enrolled(course, "ann"));
        given_log::<Enrolment>(busy.into_iter().chain([offered("rust", 9)]))
            .when(enrol("rust", "ann"))
            .then_rejected(EnrolmentRejection::TooManyCourses { courses: 3 });
    }

    #[test]
    fn a_student_who_is_there_already_changes_nothing() {
        given_log::<Enrolment>([offered("rust", 1), enrolled("rust", "ann")])
            .when(enrol("rust", "ann"))
            .then_nothing();
    }

    #[test]
    fn whoever_is_not_there_cannot_leave() {
        let leave = EnrolmentCommand::Leave { course: "rust".into(), student: "ann".into() };
        given_log::<Enrolment>([enrolled("rust", "bob"), enrolled("go", "ann")])
            .when(leave)
            .then_rejected(EnrolmentRejection::NotEnrolled);
    }

    #[test]
    fn the_service_is_put_together_rightly() {
        assert_eq!(service().problems(), Vec::<String>::new());
    }
}
