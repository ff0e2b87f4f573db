// Package teach says what a model is to learn from others: models with their parts and maps, and
// calibration inputs, go in; what each tensor of the child should hold, and how far a model is from
// that, come out.
//
// Parents are the models that a result is taught by. Target says what they want a tensor of the
// child to hold: a sum of activations, a vote on outputs, or a mixture of probabilities. Judge
// measures how far a model's outputs are from the parents' on inputs that are held out. Packages
// refit and tune teach.
package teach
