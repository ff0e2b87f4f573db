package ot_test

import (
	"fmt"

	"github.com/monge-ml/monge/ot"
	"gonum.org/v1/gonum/mat"
)

// Three bakeries deliver to two shops.
func ExampleEMD() {
	distance := ot.NewCost(3, 2, []float64{
		1, 4,
		3, 2,
		5, 1,
	})
	bread := []float64{30, 20, 10}
	orders := []float64{40, 20}
	r, err := ot.EMD(bread, orders, distance)
	if err != nil {
		panic(err)
	}
	fmt.Println(r.Status, r.Objective)
	for _, e := range r.Plan.Entries {
		fmt.Printf("%g from %d to %d\n", e.Mass, e.I, e.J)
	}
	fmt.Println(r.Certify(bread, orders, distance, 0))
	// Output:
	// optimal 90
	// 30 from 0 to 0
	// 10 from 1 to 0
	// 10 from 1 to 1
	// 10 from 2 to 1
	// <nil>
}

func ExampleAssignment() {
	r, err := ot.Assignment(ot.NewCost(3, 3, []float64{
		2, 1, 9,
		1, 3, 9,
		4, 4, 5,
	}))
	if err != nil {
		panic(err)
	}
	fmt.Println(r.Perm)
	// Output: [1 0 2]
}

func ExampleBarycentric() {
	plan := &ot.Plan{N: 2, K: 3, Entries: []ot.Entry{{I: 0, J: 0, Mass: 1}, {I: 0, J: 1, Mass: 1}, {I: 1, J: 2, Mass: 2}}}
	targets := mat.NewDense(3, 1, []float64{10, 20, 50})
	image, err := ot.Barycentric(plan, targets)
	if err != nil {
		panic(err)
	}
	fmt.Println(mat.Formatted(image))
	// Output:
	// ⎡15⎤
	// ⎣50⎦
}

// Mass that is dear to move may stay where it is, at a price.
func ExamplePartialEMD() {
	costs := ot.NewCost(2, 1, []float64{1, 5})
	r, err := ot.PartialEMD([]float64{1, 1}, []float64{3}, costs, ot.Drop{Source: []float64{2, 3}})
	if err != nil {
		panic(err)
	}
	fmt.Println(r.Plan.Entries, r.Objective)
	// Output: [{0 0 1}] 4
}

// Points are compared without a matrix of distances.
func ExamplePoints() {
	here := mat.NewDense(3, 2, []float64{0, 0, 1, 0, 5, 5})
	there := mat.NewDense(3, 2, []float64{5, 4, 1, 1, 0, 0})
	costs, err := ot.NewPoints(here, there, ot.SquaredEuclidean)
	if err != nil {
		panic(err)
	}
	r, err := ot.Assignment(costs)
	if err != nil {
		panic(err)
	}
	fmt.Println(r.Perm)
	// Output: [2 1 0]
}

// The barycentre of two pairs of points on a line lies between them.
func ExampleFreeSupport() {
	measures := []ot.Measure{{X: mat.NewDense(2, 1, []float64{0, 10})}, {X: mat.NewDense(2, 1, []float64{4, 18})}}
	b, err := ot.FreeSupport(measures, mat.NewDense(2, 1, []float64{0, 1}), ot.FreeSupportOptions{})
	if err != nil {
		panic(err)
	}
	fmt.Println(b.Status, mat.Formatted(b.X.T()), b.Objective)
	// Output: converged [ 2  14] 10
}

// A little entropy spreads the mass over targets that cost much the same.
func ExampleSinkhorn() {
	costs := ot.NewCost(2, 2, []float64{0, 1, 1, 0})
	r, err := ot.Sinkhorn(nil, nil, costs, ot.SinkhornOptions{Epsilon: 0.5})
	if err != nil {
		panic(err)
	}
	fmt.Printf("%v %.3f\n", r.Status, r.Plan.Dense())
	// Output: converged [0.491 0.009 0.009 0.491]
}
